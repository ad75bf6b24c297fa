"""Answers to a task of numbers (the rule `gsm8k`)."""

import re
from collections.abc import Iterable

from w2s_core.answers.brackets import comma_readings
from w2s_core.answers.forms import Form, Quantity
from w2s_core.answers.leaves import (
    CURRENCIES,
    DOLLAR,
    plain_number,
    power_or_root,
    quantity,
    text_form,
    within_edges,
)
from w2s_core.answers.numbers import exact, rational
from w2s_core.answers.structures import list_form
from w2s_core.answers.units import changes_number, unit_of

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_UNDERSCORES = re.compile(r"(?<![\w.])\d{1,3}(?:_\d{3})+(?!\w)")
_RUN = r"(?:[1-9]\d{0,2}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d+)"
_COUNT = re.compile(
    r"(?<![\w.])[-+]?\s?(?:(?:\d+ )?\d+ ?/ ?\d+(?![\d/])|"
    + _RUN
    + r"(?:\.\d+)?|\.\d+)(?![\d]|[.,:/_^]\d|\s?[a-zA-Z]?\d)"
)
_ARITHMETIC = re.compile(r"\d\s*[-+*/^:…]\s*[＄(]?\s*\d|\d\s*!|[=<>≤≥≠{}\\^]")


def of_number_task(text: str) -> Iterable[Form]:
    r"""Answers to a task of numbers: a number, fraction, power or root, or a list; prose around one number is cut off.

    Everything else is a text: `10-15` is a range and no difference, `555-1234` is a telephone number.
    """
    if "<<" in text:
        text = _CALCULATOR.sub("", text)
    text = within_edges(text.rstrip("! "))
    if "=" in text:
        text = within_edges(text.rpartition("=")[2]) or text
    if "_" in text:
        text = _UNDERSCORES.sub(lambda number: number.group().replace("_", ""), text)
    value = rational(plain_number(text))
    if value is not None:
        yield Quantity(exact(value))
        return
    form = quantity(text, number_task=True) or _number_in_prose(text) or power_or_root(text)
    if form:
        yield form
    elif "," in text:
        yield from (
            list_form(items, _leaf_of_number_task) for items in comma_readings(text, grouped_first=True)
        )
    else:
        yield text_form(text)


def _leaf_of_number_task(text: str) -> Form:
    value = rational(plain_number(text))
    if value is not None:
        return Quantity(exact(value))
    return quantity(text, number_task=True) or power_or_root(text) or text_form(text)


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
    value = rational(plain_number(counts[0]))
    money = before.rstrip()[-1:] if before.rstrip()[-1:] in CURRENCIES else ""
    unit = unit_of(money.replace(DOLLAR, "$")) if money else unit_of(behind)
    return None if value is None else Quantity(exact(value), unit)
