r"""The form of a final answer, and when two forms are the same answer.

An answer is a number, a formula or a text, with a unit perhaps; or it is made of several: a point, an interval, a
set, a matrix, a relation, or a bare list. Forms are equal part by part: numbers exactly, units by conversion, and
formulas by algebra, which decides outside (`grading`) what cannot be told here.

Some answers leave their form open. `5` has no unit where `5 cm` has one; `2, 3` is read as a set beside `\{2,3\}` and
as a point beside `(2,3)`; `x = 5` answers what `5` does; `100,200` is a number or a list. Two answers are `alike` if
one reading makes them the same; they are `same` if they are so as they stand. `same` is an equivalence; `alike`
cannot be one, since `5` is like `5 m` and like `5 cm`, and so `grading` makes classes of answers that are alike each
with each.

Untrusted text again: nothing is evaluated, and lengths are bounded.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from w2s_core.answers import expressions
from w2s_core.answers.characters import clean
from w2s_core.answers.latex import plain
from w2s_core.answers.letters import letters_of
from w2s_core.answers.limits import MAX_ALGEBRA, MAX_ANSWER, MAX_ITEMS
from w2s_core.answers.numbers import SCALES, Exact, decimal, exact, rational
from w2s_core.answers.units import Unit, changes_number, counted, says_no_unit, unit_of

LeafPair = tuple[str, str]
"""Two formulas, or two relations (`x+1=y`), that only algebra can compare; in order."""
Decide = Callable[[LeafPair], bool | None]


@dataclass(frozen=True, slots=True)
class Text:
    """Words, or what no other form fits."""

    text: str


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula whose value is no exact number here, as `latex.plain` writes it, without blanks."""

    source: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or formula and its unit: None where none is given, a text for counted things (`apples`)."""

    value: Exact | Formula
    unit: Unit | str | None = None


@dataclass(frozen=True, slots=True)
class Several:
    """Several forms.

    Attributes:
        kind: the brackets (`()`, `[]`, `[)`, `(]`, `{}`), `∪` for a union, `names` for `x = 1, y = 2`, or `` for a list
            without brackets.
    """

    kind: str
    items: tuple["Form", ...]

    @property
    def has_order(self) -> bool:
        """Whether it changes with the order of its items."""
        return self.kind not in ("", "{}", "∪", "names")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries; `kind` tells a determinant from a matrix."""

    kind: str
    rows: tuple[tuple["Form", ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`left sign right`, or a chain of them; never with `>` or `≥`, which are turned round."""

    signs: tuple[str, ...]
    sides: tuple["Form", ...]
    texts: tuple[str, ...]


Form = Text | Quantity | Several | Matrix | Relation


@dataclass(frozen=True, slots=True)
class Answer:
    """The readings of an answer; the first is the one that it has by itself."""

    readings: tuple[Form, ...]

    @property
    def form(self) -> Form:
        """The reading that the answer has by itself."""
        return self.readings[0]

    @property
    def is_number(self) -> bool:
        """Whether it is nothing but an exact number."""
        form = self.readings[0]
        return isinstance(form, Quantity) and form.unit is None and not isinstance(form.value, Formula)


# Reading -----------------------------------------------------------------------------------------------------------


def canonical(answer: str, rule: str) -> Answer | None:
    r"""An answer's form; None for one that holds nothing readable.

    Numbers are exact (`0.50`, `1/2` and `\frac{1}{2}` are one form); two answers with equal forms are the same.
    """
    if _NUMBER.fullmatch(answer) and rule != "choice" and len(answer) <= MAX_ANSWER:
        number = decimal(answer.removeprefix("-"))
        return Answer((Quantity(-number if answer[0] == "-" else number),))
    if len(answer) > MAX_ANSWER:
        return Answer((Text(answer),))
    if rule == "choice":
        text = letters_of(answer) or answer.strip().casefold()
        return Answer((Text(text),)) if text else None
    if rule == "gsm8k" and _GROUPS.fullmatch(answer):
        return Answer((Quantity(int(answer.replace(",", ""))),))
    # most answers are plain ASCII, and need no cleaning
    text = answer if answer.isascii() and answer.isprintable() and "<" not in answer else clean(answer)
    text = _within_edges(_money(plain(text.strip())))
    if not text:
        return None
    readings = _of_number_task(text) if rule == "gsm8k" else _of_formula_task(text)
    return Answer(tuple(dict.fromkeys(readings)))


_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_GROUPS = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_EDGES = " \t\r\n*`\"',;:"
_SEVERAL_DOLLARS = re.compile(r"(?<!\\)\$")
_DOLLAR = "＄"
"""Stands for a dollar sign that is money and no delimiter of a formula."""
_MONEY_SIGN = re.compile(r"(?<!\\)\\\$")
_PERCENT_SIGN = re.compile(r"(?<!\\)\\%")


def _money(text: str) -> str:
    if "$" not in text and "%" not in text:
        return text
    text = _PERCENT_SIGN.sub("%", _MONEY_SIGN.sub(_DOLLAR, text))
    # dollar signs around a formula come in twos
    return text.replace("$", _DOLLAR if text.count("$") == 1 and not text.endswith("$") else "")


def _within_edges(text: str) -> str:
    return text.strip(_EDGES).rstrip(_EDGES + ".")


# Answers to a task of numbers --------------------------------------------------------------------------------------

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_UNDERSCORES = re.compile(r"(?<![\w.])\d{1,3}(?:_\d{3})+(?!\w)")
_RUN = r"(?:[1-9]\d{0,2}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d+)"
_COUNT = re.compile(
    r"(?<![\w.])[-+]?\s?(?:(?:\d+ )?\d+ ?/ ?\d+(?![\d/])|"
    + _RUN
    + r"(?:\.\d+)?|\.\d+)(?![\d]|[.,:/_^]\d|\s?[a-zA-Z]?\d)"
)
_ARITHMETIC = re.compile(r"\d\s*[-+*/^:…]\s*[＄(]?\s*\d|\d\s*!|[=<>≤≥≠{}\\^]")
_NUMBER_TASK_FORMULA = frozenset({"number", "divide", "power", "root", "negative", "multiply"})


def _of_number_task(text: str) -> Iterable[Form]:
    r"""Answers to a task of numbers: a number, fraction, power or root, or a list; prose around one number is cut off.

    Everything else is a text: `10-15` is a range and no difference, `555-1234` is a telephone number.
    """
    if "<<" in text:
        text = _CALCULATOR.sub("", text)
    text = _within_edges(text.rstrip("! "))
    if "=" in text:
        text = _within_edges(text.rpartition("=")[2]) or text
    if "_" in text:
        text = _UNDERSCORES.sub(lambda number: number.group().replace("_", ""), text)
    value = rational(_plain_number(text))
    if value is not None:
        yield Quantity(exact(value))
        return
    form = _measured(text, number_task=True) or _number_in_prose(text) or _power_or_root(text)
    if form:
        yield form
    elif "," in text:
        yield from (
            _items(items, _leaf_of_number_task) for items in _comma_readings(text, grouped_first=True)
        )
    else:
        yield _text(text)


def _leaf_of_number_task(text: str) -> Form:
    value = rational(_plain_number(text))
    if value is not None:
        return Quantity(exact(value))
    return _measured(text, number_task=True) or _power_or_root(text) or _text(text)


def _number_in_prose(text: str) -> Form | None:
    """The number of a sentence that has only one, where no word beside it changes it."""
    counts = _COUNT.findall(text)
    if len(counts) != 1 or _ARITHMETIC.search(text.replace(counts[0], "1", 1)):
        return None
    before, _, behind = text.partition(counts[0])
    # `5x` and `5 x` are no numbers with a unit; `x5` is none either
    if re.match(r"[A-Za-z(]|\s*[a-zA-Z](?![A-Za-z.])", behind) or before[-1:].isalpha():
        return None
    if changes_number(before) or changes_number(behind) or any(char.isdigit() for char in before + behind):
        return None
    value = rational(_plain_number(counts[0]))
    money = before.rstrip()[-1:] if before.rstrip()[-1:] in _CURRENCIES else ""
    unit = unit_of(money.replace(_DOLLAR, "$")) if money else unit_of(behind)
    return None if value is None else Quantity(exact(value), unit)


def _power_or_root(text: str) -> Form | None:
    tree = expressions.read(text)
    if tree is None or not {part[0] for part in expressions.nodes(tree)} <= _NUMBER_TASK_FORMULA:
        return None
    # a product is arithmetic, but for `2\sqrt{3}` and `3\cdot10^5`
    if tree[0] == "multiply" and not {tree[1][0], tree[2][0]} & {"root", "power"}:
        return None
    return _formula(text, tree)


# Answers to a task of formulas -------------------------------------------------------------------------------------

_AND_OR = re.compile(r"\s*,?\s+(?:and|or)\s+")
_AND_PART = re.compile(
    r"(-?\d+)\s*,?\s*and (?:(a|one|two|three) )(half|halves|thirds?|quarters?|fourths?)(?!\w)", re.IGNORECASE
)
_PARTS: Final = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4}
_HOW_MANY: Final = {"a": 1, "one": 1, "two": 2, "three": 3}


def _of_formula_task(text: str) -> Iterator[Form]:
    value = rational(_plain_number(text)) if "," not in text else None
    if value is not None:
        yield Quantity(exact(value))
        return
    letter = _unwrapped(text)
    if len(letter) == 1 and letter.isalpha():  # a choice, whose case says nothing
        yield Text(letter.casefold())
        return
    text = _AND_PART.sub(_with_part, text)
    if max((depth for _, _, depth in _depths(text)), default=0) > MAX_NESTING:
        yield _text(text)
        return
    yield from _readings(_AND_OR.sub(", ", text))


def _with_part(match: re.Match[str]) -> str:
    whole, count, part = match.groups()
    return f"{whole} {_HOW_MANY[count.lower()]}/{_PARTS[part.lower().rstrip('s')]}"


def _unwrapped(text: str) -> str:
    """The text without braces or round brackets around it all, where these hold one item."""
    while (inner := _inside(text)) and inner[0] in ("{}", "()") and not _has_comma(inner[1]):
        text = inner[1]
    return text


MAX_NESTING = 30
"""Brackets inside each other. A text with more is compared as a text."""
_TOKENS = re.compile(r"\\[{}]|\\begin\{\w+\}|\\end\{\w+\}|\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPENS = ("(", "[", "{", r"\{", r"\langle")
_CLOSES = (")", "]", "}", r"\}", r"\rangle")


def _depths(text: str) -> Iterator[tuple[str, int, int]]:
    """Each token with its place and the number of brackets that are open behind it; any bracket closes any."""
    depth = 0
    for token in _TOKENS.finditer(text):
        sign = token.group()
        depth += (sign in _OPENS or sign.startswith(r"\begin")) - (
            sign in _CLOSES or sign.startswith(r"\end")
        )
        yield sign, token.start(), depth


def _inside(text: str) -> tuple[str, str] | None:
    """The brackets around a whole text, as a kind, and what they hold."""
    opening = next((sign for sign in reversed(_OPENS) if text.startswith(sign)), None)
    if opening is None:
        return None
    for sign, place, depth in _depths(text):
        if depth <= 0:
            if place + len(sign) != len(text):
                return None
            kind = _kind(opening, sign)
            return (kind, text[len(opening) : place].strip()) if kind else None
    return None


def _kind(opening: str, closing: str) -> str | None:
    if opening == "{":
        return "{}" if closing == "}" else None
    if opening == r"\{":
        return "set" if closing == r"\}" else None
    if opening == r"\langle":
        return "()" if closing == r"\rangle" else None
    return opening + closing if closing in (")", "]") else None


def _split(text: str, separators: str) -> list[tuple[str, bool]]:
    """The parts of a text between separators outside brackets, each with whether a blank stands before it."""
    parts: list[tuple[str, bool]] = []
    start = 0
    for sign, place, depth in _depths(text):
        if depth == 0 and sign in separators and len(sign) == 1:
            parts.append((text[start:place], text[start : start + 1].isspace()))
            start = place + 1
    return [*parts, (text[start:], text[start : start + 1].isspace())]


def _has_comma(text: str) -> bool:
    return len(_split(text, ",;")) > 1


_GROUP_BEFORE = re.compile(r"(?<![\d.,])(?:[1-9]\d{0,2})(?:,\d{3})*$")
_GROUP_BEHIND = re.compile(r"\d{3}(?!\d)")
_LAKHS = re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}")


def _comma_readings(text: str, grouped_first: bool) -> list[list[str]]:
    """The items of a list: with commas that part thousands, and with commas that part items."""
    if _LAKHS.fullmatch(text):
        return [[text.replace(",", "")]]
    parts = _split(text, ",;")
    plain_items = [part.strip() for part, _ in parts if part.strip()]
    grouped: list[str] = []
    zeros = False
    for part, blank in parts:
        if grouped and not blank and _GROUP_BEFORE.search(grouped[-1]) and _GROUP_BEHIND.match(part):
            zeros = zeros or part.startswith("0")
            grouped[-1] += f",{part}"
        else:
            grouped.append(part)
    grouped = [part.strip() for part in grouped if part.strip()]
    if grouped == plain_items:
        return [plain_items]
    # nobody writes 0 as 000, so such commas part thousands; inside brackets others part items first
    return [grouped] if zeros else [grouped, plain_items] if grouped_first else [plain_items, grouped]


def _readings(text: str) -> Iterator[Form]:
    """The forms that a text may have, the most likely first."""
    matrix = _matrix(text)
    if matrix:
        yield matrix
        return
    inside = _inside(text)
    if inside and inside[0] == "{}":
        yield from _readings(inside[1]) if inside[1] else [_text(text)]
        return
    if inside and (inside[0] == "set" or _has_comma(inside[1]) or inside[0] != "()"):
        yield from _bracketed(*inside, text)
        return
    if inside and inside[1]:
        yield from _readings(inside[1])
        return
    if _has_comma(text):
        for items in _comma_readings(text, grouped_first=True):
            if len(items) == 1:
                yield from _without_commas(items[0])
            else:
                yield _items(items, _first_reading)
        return
    yield from _without_commas(text)


def _first_reading(text: str) -> Form:
    return next(iter(_readings(text)))


def _items(items: list[str], read: Callable[[str], Form]) -> Form:
    """One item by itself, or several as a list without brackets."""
    if len(items) == 1:
        return read(items[0])
    if not items or len(items) > MAX_ITEMS:
        return _text(",".join(items))
    return _named_items(_spread(read(item) for item in items))


def _spread(forms: Iterable[Form]) -> tuple[Form, ...]:
    r"""The forms, with the two values of `1 \pm \sqrt{2}` side by side."""
    return tuple(
        part
        for form in forms
        for part in (form.items if isinstance(form, Several) and not form.kind else [form])
    )


def _named_items(forms: tuple[Form, ...]) -> Several:
    """A list; one whose items have each a name of its own is read by the names."""
    names = [form.texts[0] if _is_named(form) else None for form in forms]  # type: ignore[union-attr]
    if names[0] is not None and not any(names[1:]):  # `x = 1, 2`
        first = forms[0]
        assert isinstance(first, Relation)
        forms = (first, *(Relation(("=",), (first.sides[0], form), (names[0], "")) for form in forms[1:]))
    elif None not in names and len(set(names)) == len(names):
        return Several("names", forms)
    return Several("", forms)


def _bracketed(kind: str, inner: str, text: str) -> Iterator[Form]:
    if "|" in inner and kind == "set":
        yield _text(text)  # a set by its property
        return
    kind = "{}" if kind == "set" else kind
    for items in _comma_readings(inner, grouped_first=False):
        forms = tuple(_first_reading(item) for item in items) if len(items) <= MAX_ITEMS else ()
        forms = _spread(forms) if kind == "{}" else forms
        if not forms:
            yield _text(text)
        elif len(forms) == 1 and kind == "()":
            yield forms[0]
        else:
            yield Several(kind, tuple(dict.fromkeys(forms)) if kind == "{}" else forms)


_ENVIRONMENT = re.compile(
    r"(?P<before>.*?)[(\[]?\s*\\begin\{(?P<name>[pbvBV]?matrix|smallmatrix|array)\}(?:\{[lcr| ]*\})?(?P<rows>.*)"
    r"\\end\{(?P=name)\}\s*[)\]]?",
    re.DOTALL,
)


def _matrix(text: str) -> Form | None:
    if "\\begin" not in text:
        return None
    match = _ENVIRONMENT.fullmatch(text)
    if not match or "\\begin" in match["rows"]:
        return None
    scale = match["before"].strip().rstrip("*").strip()
    lines = [row.strip() for row in re.split(r"\\\\", match["rows"])]
    entries = [[entry.strip() for entry in line.split("&")] for line in lines if line]
    if sum(map(len, entries)) > MAX_ITEMS or (scale and expressions.read(scale) is None):
        return _text(text)
    rows = tuple(tuple(_entry(entry, scale) for entry in row) for row in entries)
    return Matrix("determinant" if match["name"] in ("vmatrix", "Vmatrix") else "matrix", rows)


def _entry(text: str, scale: str) -> Form:
    text = f"({scale})*({text})" if scale and text != "0" else text
    return _first_reading(text) if text else _text("")


# Items without commas ----------------------------------------------------------------------------------------------

_SIGNS = "=≠<>≤≥∈"
_TURNED: Final = {">": "<", "≥": "≤"}
_NAME = re.compile(
    r"(?:\\?[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{4,}|\\(?!frac|sqrt|log|ln|sin|cos|tan)[A-Za-z]+(?:\s*[A-Z]{1,3})?)"
    r"(?:_\{?\w+\}?)?'?\s*(?:\([A-Za-z](?:,\s*[A-Za-z])*\))?"
)


def _without_commas(text: str) -> Iterator[Form]:
    signs = [sign for sign, _, depth in _depths(text) if depth == 0 and sign in _SIGNS and len(sign) == 1]
    if signs:
        yield from _relations([part.strip() for part, _ in _split(text, _SIGNS)], signs, text)
        return
    parts = [part.strip() for part, _ in _split(text, "∪")]
    if 1 < len(parts) <= MAX_ITEMS and all(parts):
        yield Several("∪", tuple(_first_reading(part) for part in parts))
        return
    if "±" in text:
        ways = [text.replace("±", sign).removeprefix("+") for sign in "+-"]
        yield Several("", tuple(_leaf(way) for way in ways))
        return
    yield _leaf(text)


def _relations(sides: list[str], signs: list[str], text: str) -> Iterator[Form]:
    if not all(sides):
        yield _text(text)
        return
    if set(signs) == {"="} and len(signs) > 1:  # `x = 2 + 3 = 5`: the last side is the answer
        sides, signs = [sides[0], sides[-1]], ["="]
    signs = ["=" if sign == "∈" else sign for sign in signs]
    if signs[0] in _TURNED:
        sides, signs = sides[::-1], [_TURNED.get(sign, sign) for sign in signs[::-1]]
    if signs in (["="], ["≠"]) and _NAME.fullmatch(sides[1]) and not _NAME.fullmatch(sides[0]):
        sides = sides[::-1]
    if any(sign in _TURNED for sign in signs):
        yield _text(text)
        return
    forms = tuple(_first_reading(side) for side in sides)
    named = _named_point(forms) if signs == ["="] else None
    yield named or Relation(tuple(signs), forms, tuple(side.replace(" ", "") for side in sides))
    interval = _interval(forms, sides, signs)
    if interval:
        yield interval


def _named_point(forms: tuple[Form, ...]) -> Form | None:
    """`(p,q) = (3,2)` as `p = 3, q = 2`."""
    names, values = forms
    if not (isinstance(names, Several) and isinstance(values, Several)) or len(names.items) != len(
        values.items
    ):
        return None
    if names.kind != "()" or values.kind != "()" or not all(_symbol(name) for name in names.items):
        return None
    pairs = zip(names.items, values.items, strict=True)
    return Several("names", tuple(Relation(("=",), pair, (_symbol(pair[0]), "")) for pair in pairs))


def _symbol(form: Form) -> str:
    """The name of a lone letter, or an empty text."""
    source = form.value.source if isinstance(form, Quantity) and isinstance(form.value, Formula) else ""
    return source if _NAME.fullmatch(source) else ""


def _is_named(form: Form) -> bool:
    return isinstance(form, Relation) and form.signs == ("=",) and bool(_NAME.fullmatch(form.texts[0]))


def _interval(forms: tuple[Form, ...], sides: list[str], signs: list[str]) -> Form | None:
    """The interval that `1 < x ≤ 2` or `x ≥ 5` says."""
    if not set(signs) <= {"<", "≤"} or len(signs) > 2:
        return None
    names = [bool(re.fullmatch(r"\\?[A-Za-z]+", side)) for side in sides]
    if names not in ([True, False], [False, True], [False, True, False]):
        return None
    infinity = [Quantity(Formula("-∞")), Quantity(Formula("∞"))]
    if len(signs) == 2:
        low, high, brackets = forms[0], forms[2], signs
    elif names[0]:
        low, high, brackets = infinity[0], forms[1], ["<", signs[0]]
    else:
        low, high, brackets = forms[0], infinity[1], [signs[0], "<"]
    return Several(("(" if brackets[0] == "<" else "[") + (")" if brackets[1] == "<" else "]"), (low, high))


# Leaves ------------------------------------------------------------------------------------------------------------

_GROUPED = re.compile(
    r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?"
)
_BRACKETED = re.compile(r"[({]\s*([-+]?[\d./]+)\s*[)}]")
_SIGN_GAP = re.compile(r"^([-+])\s+(?=[\d.\\])")
_GAP = re.compile(r"(?<!\w)\s+|\s+(?!\w)")
_ALGEBRA_ONLY = re.compile(r"\\(?:int|sum|prod|lim)(?![A-Za-z])")


def _plain_number(text: str) -> str:
    """Separators of thousands, brackets around it all and blanks between signs taken out."""
    bracketed = _BRACKETED.fullmatch(text)
    text = _SIGN_GAP.sub(r"\1", bracketed[1] if bracketed else text)
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    return _GAP.sub("", " ".join(text.split())) if " " in text else text


def _leaf(text: str) -> Form:
    value = rational(_plain_number(text))
    if value is not None:
        return Quantity(exact(value))
    form = _measured(text, number_task=False)
    if form:
        return form
    tree = expressions.read(text)
    if tree is not None:
        return _formula(text, tree)
    if _ALGEBRA_ONLY.search(text) and len(text) <= MAX_ALGEBRA:
        return Quantity(Formula(text))
    return _text(text)


def _formula(text: str, tree: expressions.Tree) -> Form:
    try:
        value = expressions.rational(tree)
    except ZeroDivisionError:
        return _text(text)
    if value is not None:
        return Quantity(exact(value))
    return Quantity(Formula(_GAP.sub("", " ".join(text.removeprefix("+").split()))))


_CURRENCIES = "＄€£¥₹"
_MONEY = re.compile(rf"(?:US)?([-+]?)\s*([{_CURRENCIES}])\s*([-+]?)\s*(.+)", re.DOTALL)
_MARKS = re.compile("[%°¢]")
_MARKED = re.compile(r"(.+?)\s*([%°¢])\s*(.*)", re.DOTALL)
_MEASURED = re.compile(
    r"(.*?[\d)}πa-z]\.?)(\s+|-|(?<=\d)(?=[A-Za-z]))(?:an? )?([A-Za-z(][A-Za-z\s.,'’()/^{}\d%-]*)"
)
_SECOND_AMOUNT = re.compile(r"\s\d")
_TRIGONOMETRY = re.compile(r"sin|cos|tan|cot|sec|csc")


def _measured(text: str, number_task: bool) -> Form | None:
    """A value with its unit; None for what is no value with a unit, so that unknown words leave the text whole."""
    money = _MONEY.fullmatch(text) if not text.isascii() else None
    if money:
        sign, currency, second_sign, rest = money.groups()
        return _measured_amount(f"{sign or second_sign}{rest}", currency.replace(_DOLLAR, "$"), number_task)
    marked = _MARKED.fullmatch(text) if _MARKS.search(text) else None
    if marked and not (marked[2] == "°" and _TRIGONOMETRY.search(marked[1])):
        value = _value(marked[1], number_task)
        scale = "" if marked[2] == "°" and marked[3] in ("C", "F") else marked[3]
        if value is not None and not scale:
            return Quantity(value, unit_of(marked[2]))
        return Quantity(value, unit_of(marked[2])) if value is not None and _is_prose(scale) else None
    match = _MEASURED.fullmatch(text)
    if not match or (match[2] == "-" and not number_task):
        return None
    return _with_words(match[1].rstrip("."), match[3], not match[2], number_task)


def _measured_amount(text: str, currency: str, number_task: bool) -> Form | None:
    value = _value(text, number_task)
    if value is not None:
        return Quantity(value, unit_of(currency))
    match = _MEASURED.fullmatch(text)
    if not match:
        return None
    value, words = _scaled(_value(match[1], number_task), match[3])
    if value is None or changes_number(words):
        return None
    per = re.match(r"(?:per|an?|/)\s", f"{words} ") or words.startswith("/")
    unit = unit_of(f"{currency} {words}") if per else unit_of(words) or unit_of(currency)
    return Quantity(value, unit or unit_of(currency))


def _is_prose(words: str) -> bool:
    return not changes_number(words) and not re.search(r"[\d\\=<>^_]", words)


def _with_words(number: str, words: str, glued: bool, number_task: bool) -> Form | None:
    value, rest = _scaled(_value(number, number_task), words)
    if value is None:
        return None
    if not rest:
        return Quantity(value)
    if changes_number(rest):
        return None
    unit = unit_of(rest)
    if unit and _SECOND_AMOUNT.search(rest):
        return None
    if unit:
        # `5m` is a product; a unit of one letter is set off
        return None if glued and len(rest) < 2 else Quantity(value, unit)
    if glued or re.search(r"\d", rest) or len(rest) < 2:
        return None
    if says_no_unit(rest):
        return Quantity(value)
    things = counted(rest)
    if number_task:
        return Quantity(value) if _is_prose(rest) and not re.match(r"[A-Za-z](?![A-Za-z])", rest) else None
    if things is None and value != 1:
        return None
    return Quantity(value, things or rest.lower())


def _scaled(value: Exact | Formula | None, words: str) -> tuple[Exact | Formula | None, str]:
    """The value times the scales (`hundred thousand`) that the words begin with, and the words behind them."""
    while value is not None:
        first, _, behind = words.partition(" ")
        scale = SCALES.get(first.lower().rstrip(",.").removesuffix("s"))
        if scale is None:
            return value, words
        value = Formula(f"({value.source})*{scale}") if isinstance(value, Formula) else value * scale
        words = behind.strip().removeprefix("of ")
    return value, words


def _value(text: str, number_task: bool) -> Exact | Formula | None:
    """The number or formula that a unit belongs to."""
    text = text.strip()
    value = rational(_plain_number(text))
    if value is not None:
        return exact(value)
    if number_task:
        form = _power_or_root(text)
    else:
        tree = expressions.read(text)
        form = (
            _formula(text, tree)
            if tree is not None and any(char.isdigit() or char == "π" for char in text)
            else None
        )
    return form.value if isinstance(form, Quantity) else None


_WORDS_ONLY = re.compile(r"[A-Za-z\s.,'’!?-]*")
_HALF_OF_DAY = re.compile(r"\b([ap])\s?\.?\s?m\b\.?", re.IGNORECASE)
_GROUPS_WITH_BASE = re.compile(r"(?<![\d,.])[1-9]\d{0,2}(?:,\d{3})+(?=_)")
_SUBSCRIPT = re.compile(r"_\{(\w+)\}")


def _text(text: str) -> Text:
    """Words without what does not change them: case, blanks around signs, periods of `a.m.`."""
    text = _GROUPS_WITH_BASE.sub(lambda number: number.group().replace(",", ""), text)
    text = _HALF_OF_DAY.sub(r"\1m", _SUBSCRIPT.sub(r"_\1", text)).replace("…", "-")
    text = _GAP.sub("", " ".join(text.split()))
    return Text(text.casefold() if _WORDS_ONLY.fullmatch(text) or "m" in text[-2:] else text)


# Comparing ---------------------------------------------------------------------------------------------------------


def same(one: Answer, other: Answer, decide: Decide) -> bool | None:
    """Whether two answers are the same as they stand; None where algebra could not tell. An equivalence."""
    return _equal(one.form, other.form, decide, alike=False)


def alike(one: Answer, other: Answer, decide: Decide) -> bool | None:
    """Whether one reading makes two answers the same; None where algebra could not tell. Symmetric."""
    if len(one.readings) == len(other.readings) == 1:
        return _equal(one.readings[0], other.readings[0], decide, alike=True)
    return _any(
        _equal(left, right, decide, alike=True) for left, right in product(one.readings, other.readings)
    )


def compare(one: Answer | None, other: Answer | None) -> bool | None:
    """Whether two answers are alike, as far as it can be told without algebra; None where only algebra can tell."""
    if one is None or other is None:
        return False
    return alike(one, other, lambda _: None)


def _any(results: Iterable[bool | None]) -> bool | None:
    outcome: bool | None = False
    for result in results:
        if result:
            return True
        outcome = None if result is None else outcome
    return outcome


def _all(results: Iterable[bool | None]) -> bool | None:
    outcome: bool | None = True
    for result in results:
        if result is False:
            return False
        outcome = None if result is None else outcome
    return outcome


def _equal(one: Form, other: Form, decide: Decide, alike: bool) -> bool | None:
    if one == other:
        return True
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return _equal_quantities(one, other, decide, alike)
    if isinstance(one, Several) and isinstance(other, Several):
        return _equal_several(one, other, decide, alike)
    if isinstance(one, Relation) and isinstance(other, Relation):
        return _equal_relations(one, other, decide, alike)
    if isinstance(one, Matrix) and isinstance(other, Matrix):
        return _equal_matrices(one, other, decide, alike)
    return _open_forms(one, other, decide) if alike else False


def _open_forms(one: Form, other: Form, decide: Decide) -> bool | None:
    """Answers of two forms: `x = 5` beside `5`, a set of one element beside the element."""
    for left, right in ((one, other), (other, one)):
        if _is_named(left) and isinstance(left, Relation):
            return _equal(left.sides[1], right, decide, alike=True)
        if isinstance(left, Several) and left.kind == "{}" and len(left.items) == 1:
            return _equal(left.items[0], right, decide, alike=True)
    return False


def _equal_quantities(one: Quantity, other: Quantity, decide: Decide, alike: bool) -> bool | None:
    left, right = one.unit, other.unit
    if left == right or (alike and (left is None or right is None)):
        return _equal_values(one.value, other.value, decide)
    if not (isinstance(left, Unit) and isinstance(right, Unit)) or left.dimensions != right.dimensions:
        return False
    return _equal_values(_in_base(one.value, left), _in_base(other.value, right), decide)


def _in_base(value: Exact | Formula, unit: Unit) -> Exact | Formula:
    if isinstance(value, Formula):
        return value if unit.factor == 1 else Formula(f"({value.source})*({unit.factor})")
    return value * unit.factor


def _equal_values(one: Exact | Formula, other: Exact | Formula, decide: Decide) -> bool | None:
    if not (isinstance(one, Formula) or isinstance(other, Formula)):
        return one == other
    left, right = (value.source if isinstance(value, Formula) else str(value) for value in (one, other))
    return True if left == right else decide(ordered(left, right))


def ordered(one: str, other: str) -> LeafPair:
    """The pair in the order in which algebra is asked, so that it cannot answer both ways round."""
    return (one, other) if one <= other else (other, one)


_BESIDE_A_LIST = ("()", "{}", "names")


def _equal_several(one: Several, other: Several, decide: Decide, alike: bool) -> bool | None:
    if one.kind != other.kind and not (alike and _meet(one, other)):
        return False
    if len(one.items) != len(other.items):
        return False
    if "names" in (one.kind, other.kind) and one.kind != other.kind:
        return _all(_equal(*pair, decide, alike) for pair in zip(one.items, other.items, strict=True))
    if one.has_order or other.has_order:
        return _all(_equal(*pair, decide, alike) for pair in zip(one.items, other.items, strict=True))
    return _matched([[_equal(left, right, decide, alike) for right in other.items] for left in one.items])


def _meet(one: Several, other: Several) -> bool:
    """Whether a list without brackets, or names, may be read as the other's kind."""
    for left, right in ((one, other), (other, one)):
        if left.kind == "" and (
            right.kind in _BESIDE_A_LIST or (right.kind == "[]" and len(right.items) != 2)
        ):
            return True
        if left.kind == "names" and right.kind == "()":
            return True
    return False


def _matched(table: Sequence[Sequence[bool | None]]) -> bool | None:
    """Whether each row can have a column of its own; None where that hangs on what is undecided."""
    if _matching(table, undecided=False):
        return True
    return None if _matching(table, undecided=True) else False


def _matching(table: Sequence[Sequence[bool | None]], undecided: bool) -> bool:
    row_of: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, result in enumerate(table[row]):
            if column in tried or not (result or (undecided and result is None)):
                continue
            tried.add(column)
            if column not in row_of or place(row_of[column], tried):
                row_of[column] = row
                return True
        return False

    return all(place(row, set()) for row in range(len(table)))


def _equal_matrices(one: Matrix, other: Matrix, decide: Decide, alike: bool) -> bool | None:
    if one.kind != other.kind or [len(row) for row in one.rows] != [len(row) for row in other.rows]:
        return False
    entries = zip(sum(one.rows, ()), sum(other.rows, ()), strict=True)
    return _all(_equal(*pair, decide, alike) for pair in entries)


def _equal_relations(one: Relation, other: Relation, decide: Decide, alike: bool) -> bool | None:
    if one.signs != other.signs:
        return False
    pairs = zip(one.sides, other.sides, strict=True)
    sides = _all(_equal(*pair, decide, alike) for pair in pairs)
    if sides is True or len(one.signs) > 1:
        return sides
    left, right = _source(one), _source(other)
    if not left or not right:
        return sides
    # named values are compared by their names and values: `x = 5` and `y = 5` differ
    return decide(ordered(left, right))


def _source(relation: Relation) -> str:
    """The relation as algebra reads it; empty where a side is no formula."""
    parts = []
    for side in relation.sides:
        if not isinstance(side, Quantity) or side.unit is not None:
            return ""
        parts.append(side.value.source if isinstance(side.value, Formula) else str(side.value))
    return relation.signs[0].join(parts)
