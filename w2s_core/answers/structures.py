"""Answers to a task of formulas (the rule `math`): points, sets, intervals, matrices, relations and lists."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from w2s_core.answers import expressions
from w2s_core.answers.brackets import MAX_NESTING, comma_readings, depths, has_comma, inside_of, split_at
from w2s_core.answers.forms import Form, Formula, Matrix, Quantity, Relation, Several, Text
from w2s_core.answers.leaves import leaf_form, plain_number, text_form
from w2s_core.answers.limits import MAX_ITEMS
from w2s_core.answers.numbers import exact, rational

_AND_OR = re.compile(r"\s*,?\s+(?:and|or)\s+")
_AND_PART = re.compile(
    r"(-?\d+)\s*,?\s*and (?:(a|one|two|three) )(half|halves|thirds?|quarters?|fourths?)(?!\w)", re.IGNORECASE
)
_PARTS: Final = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4}
_HOW_MANY: Final = {"a": 1, "one": 1, "two": 2, "three": 3}


def of_formula_task(text: str) -> Iterator[Form]:
    """The forms that an answer may have, the most likely first."""
    value = rational(plain_number(text)) if "," not in text else None
    if value is not None:
        yield Quantity(exact(value))
        return
    letter = _unwrapped(text)
    if len(letter) == 1 and letter.isalpha():  # a choice, whose case says nothing
        yield Text(letter.casefold())
        return
    text = _AND_PART.sub(_with_part, text)
    if max((depth for _, _, depth in depths(text)), default=0) > MAX_NESTING:
        yield text_form(text)
        return
    yield from _readings(_AND_OR.sub(", ", text))


def _with_part(match: re.Match[str]) -> str:
    whole, count, part = match.groups()
    return f"{whole} {_HOW_MANY[count.lower()]}/{_PARTS[part.lower().rstrip('s')]}"


def _unwrapped(text: str) -> str:
    """The text without braces or round brackets around it all, where these hold one item."""
    while (inner := inside_of(text)) and inner[0] in ("{}", "()") and not has_comma(inner[1]):
        text = inner[1]
    return text


def _readings(text: str) -> Iterator[Form]:
    """The forms that a text may have, the most likely first."""
    matrix = _matrix(text)
    if matrix:
        yield matrix
        return
    inside = inside_of(text)
    if inside and inside[0] == "{}":
        yield from _readings(inside[1]) if inside[1] else [text_form(text)]
        return
    if inside and (inside[0] == "set" or has_comma(inside[1]) or inside[0] != "()"):
        yield from _bracketed(*inside, text)
        return
    if inside and inside[1]:
        yield from _readings(inside[1])
        return
    if has_comma(text):
        for items in comma_readings(text, grouped_first=True):
            if len(items) == 1:
                yield from _without_commas(items[0])
            else:
                yield list_form(items, _first_reading)
        return
    yield from _without_commas(text)


def _first_reading(text: str) -> Form:
    return next(iter(_readings(text)))


def list_form(items: list[str], read: Callable[[str], Form]) -> Form:
    """One item by itself, or several as a list without brackets."""
    if len(items) == 1:
        return read(items[0])
    if not items or len(items) > MAX_ITEMS:
        return text_form(",".join(items))
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
    names = [form.texts[0] if is_named(form) else None for form in forms]  # type: ignore[union-attr]
    if names[0] is not None and not any(names[1:]):  # `x = 1, 2`
        first = forms[0]
        assert isinstance(first, Relation)
        forms = (first, *(Relation(("=",), (first.sides[0], form), (names[0], "")) for form in forms[1:]))
    elif None not in names and len(set(names)) == len(names):
        return Several("names", forms)
    return Several("", forms)


def _bracketed(kind: str, inner: str, text: str) -> Iterator[Form]:
    if "|" in inner and kind == "set":
        yield text_form(text)  # a set by its property
        return
    kind = "{}" if kind == "set" else kind
    readings = list(comma_readings(inner, grouped_first=False))
    for items in readings:
        forms = tuple(_first_reading(item) for item in items) if len(items) <= MAX_ITEMS else ()
        forms = _spread(forms) if kind == "{}" else forms
        if not forms:
            yield text_form(text)
        elif len(forms) == 1 and kind == "()":
            # `(100,200)` is a point, and no number with a separator; `(1,000)` can be nothing else
            if not has_comma(inner) or len(readings) == 1:
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
        return text_form(text)
    rows = tuple(tuple(_entry(entry, scale) for entry in row) for row in entries)
    return Matrix("determinant" if match["name"] in ("vmatrix", "Vmatrix") else "matrix", rows)


def _entry(text: str, scale: str) -> Form:
    text = f"({scale})*({text})" if scale and text != "0" else text
    return _first_reading(text) if text else text_form("")


_SIGNS = "=≠<>≤≥∈"
_TURNED: Final = {">": "<", "≥": "≤"}
_NAME = re.compile(
    r"(?:\\?[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{4,}|\\(?!frac|sqrt|log|ln|sin|cos|tan)[A-Za-z]+(?:\s*[A-Z]{1,3})?)"
    r"(?:_\{?\w+\}?)?'?\s*(?:\([A-Za-z](?:,\s*[A-Za-z])*\))?"
)


def _without_commas(text: str) -> Iterator[Form]:
    signs = [sign for sign, _, depth in depths(text) if depth == 0 and sign in _SIGNS and len(sign) == 1]
    if signs:
        yield from _relations([part.strip() for part, _ in split_at(text, _SIGNS)], signs, text)
        return
    parts = [part.strip() for part, _ in split_at(text, "∪")]
    if 1 < len(parts) <= MAX_ITEMS and all(parts):
        yield Several("∪", tuple(_first_reading(part) for part in parts))
        return
    if "±" in text:
        ways = [text.replace("±", sign).removeprefix("+") for sign in "+-"]
        yield Several("", tuple(leaf_form(way) for way in ways))
        return
    yield leaf_form(text)


def _relations(sides: list[str], signs: list[str], text: str) -> Iterator[Form]:
    if not all(sides):
        yield text_form(text)
        return
    if set(signs) == {"="} and len(signs) > 1:  # `x = 2 + 3 = 5`: the last side is the answer
        sides, signs = [sides[0], sides[-1]], ["="]
    signs = ["=" if sign == "∈" else sign for sign in signs]
    if signs[0] in _TURNED:
        sides, signs = sides[::-1], [_TURNED.get(sign, sign) for sign in signs[::-1]]
    if signs in (["="], ["≠"]) and _NAME.fullmatch(sides[1]) and not _NAME.fullmatch(sides[0]):
        sides = sides[::-1]
    if any(sign in _TURNED for sign in signs):
        yield text_form(text)
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


def is_named(form: Form) -> bool:
    """Whether a form is the value of a name: `x = 5`, `f(x) = 2x`."""
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
