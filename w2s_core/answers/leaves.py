"""Answers without parts: a number or formula with its unit, or a text."""

import re

from w2s_core.answers import expressions, values
from w2s_core.answers.forms import Form, Formula, Quantity, Text
from w2s_core.answers.limits import MAX_ALGEBRA
from w2s_core.answers.numbers import SCALES, Exact, exact, rational
from w2s_core.answers.units import changes_number, counted, says_no_unit, unit_of

_EDGES = " \t\r\n*`\"',;:"
_SEVERAL_DOLLARS = re.compile(r"(?<!\\)\$")
DOLLAR = "＄"
"""Stands for a dollar sign that is money and no delimiter of a formula."""
_MONEY_SIGN = re.compile(r"(?<!\\)\\\$")
_PERCENT_SIGN = re.compile(r"(?<!\\)\\%")


def mark_money(text: str) -> str:
    """The text with its dollar signs told apart: those that are money, and those around formulas, which go."""
    if "$" not in text and "%" not in text:
        return text
    text = _PERCENT_SIGN.sub("%", _MONEY_SIGN.sub(DOLLAR, text))
    # dollar signs around a formula come in twos
    return text.replace("$", DOLLAR if text.count("$") == 1 and not text.endswith("$") else "")


def within_edges(text: str) -> str:
    """The text without blanks, quotes and punctuation around it."""
    return text.strip(_EDGES).rstrip(_EDGES + ".")


_GROUPED = re.compile(
    r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?"
)
_BRACKETED = re.compile(r"[({]\s*([-+]?[\d./]+)\s*[)}]")
_SIGN_GAP = re.compile(r"^([-+])\s+(?=[\d.\\])")
_GAP = re.compile(r"(?<!\w)\s+|\s+(?!\w)")
_ALGEBRA_ONLY = re.compile(r"\\(?:int|sum|prod|lim)(?![A-Za-z])")


def plain_number(text: str) -> str:
    """Separators of thousands, brackets around it all and blanks between signs taken out."""
    bracketed = _BRACKETED.fullmatch(text)
    text = _SIGN_GAP.sub(r"\1", bracketed[1] if bracketed else text)
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    return _GAP.sub("", " ".join(text.split())) if " " in text else text


def leaf_form(text: str) -> Form:
    """A number, a quantity, a formula or a text."""
    value = rational(plain_number(text))
    if value is not None:
        return Quantity(exact(value))
    form = quantity(text, number_task=False)
    if form:
        return form
    tree = expressions.read(text)
    if tree is not None:
        return _formula(text, tree)
    if _ALGEBRA_ONLY.search(text) and len(text) <= MAX_ALGEBRA:
        return Quantity(Formula(text))
    return text_form(text)


def _formula(text: str, tree: expressions.Tree) -> Form:
    try:
        value = values.rational(tree)
    except ZeroDivisionError:
        return text_form(text)
    if value is not None:
        return Quantity(exact(value))
    return Quantity(Formula(_GAP.sub("", " ".join(text.removeprefix("+").split()))))


CURRENCIES = "＄€£¥₹"
_MONEY = re.compile(rf"(?:US)?([-+]?)\s*([{CURRENCIES}])\s*([-+]?)\s*(.+)", re.DOTALL)
_MARKS = re.compile("[%°¢]")
_MARKED = re.compile(r"(.+?)\s*([%°¢])\s*(.*)", re.DOTALL)
_MEASURED = re.compile(
    r"(.*?[\d)}πa-z]\.?)(\s+|-|(?<=\d)(?=[A-Za-z]))(?:an? )?([A-Za-z(][A-Za-z\s.,'’()/^{}\d%-]*)"
)
_SECOND_AMOUNT = re.compile(r"\s\d")
_TRIGONOMETRY = re.compile(r"sin|cos|tan|cot|sec|csc")


def quantity(text: str, number_task: bool) -> Form | None:
    """A value with its unit; None for what is no value with a unit, so that unknown words leave the text whole."""
    money = _MONEY.fullmatch(text) if not text.isascii() else None
    if money:
        sign, currency, second_sign, rest = money.groups()
        return _measured_amount(f"{sign or second_sign}{rest}", currency.replace(DOLLAR, "$"), number_task)
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
    value = rational(plain_number(text))
    if value is not None:
        return exact(value)
    if number_task:
        form = power_or_root(text)
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


def text_form(text: str) -> Text:
    """Words without what does not change them: case, blanks around signs, periods of `a.m.`."""
    text = _GROUPS_WITH_BASE.sub(lambda number: number.group().replace(",", ""), text)
    text = _HALF_OF_DAY.sub(r"\1m", _SUBSCRIPT.sub(r"_\1", text)).replace("…", "-")
    text = _GAP.sub("", " ".join(text.split()))
    return Text(text.casefold() if _WORDS_ONLY.fullmatch(text) or "m" in text[-2:] else text)


_NUMBER_TASK_FORMULA = frozenset({"number", "divide", "power", "root", "negative", "multiply"})


def power_or_root(text: str) -> Form | None:
    """A number, fraction, power or root; None for arithmetic and for letters."""
    tree = expressions.read(text)
    if tree is None or not {part[0] for part in expressions.nodes(tree)} <= _NUMBER_TASK_FORMULA:
        return None
    # a product is arithmetic, but for `2\sqrt{3}` and `3\cdot10^5`
    if tree[0] == "multiply" and not {tree[1][0], tree[2][0]} & {"root", "power"}:
        return None
    return _formula(text, tree)
