"""Exact values of numbers as answers write them."""

import re
from fractions import Fraction
from typing import Final

_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(rf"([-+]?)({_DECIMAL})(?:(?:[eE]|\*10\^)\{{?([-+]?\d{{1,3}})\}}?)?")
_QUOTIENT = re.compile(rf"([-+]?)(?:(\d+) )?({_DECIMAL})/({_DECIMAL})")
_FRAC = re.compile(rf"([-+]?)(\d+)? ?\\frac\{{(-?{_DECIMAL})\}}\{{({_DECIMAL})\}}")
_REPEATING = re.compile(r"([-+]?)(\d*)\.(\d*)\\overline\{?(\d+)\}?")

Exact = int | Fraction
"""A whole number is an `int`, so that most comparisons need no fractions."""

SCALES: Final = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}


def exact(value: Exact) -> Exact:
    """The value, as an int where it is whole."""
    return value.numerator if value.denominator == 1 else value


def rational(text: str) -> Exact | None:
    """The exact value of a decimal, fraction, mixed number, power of ten or repeating decimal; None for other text."""
    number = _NUMBER.fullmatch(text)
    if number:
        sign, digits, exponent = number.groups()
        value = decimal(digits)
        if exponent:
            value = value * Fraction(10) ** int(exponent)
        return -value if sign == "-" else value
    quotient = _QUOTIENT.fullmatch(text) or _FRAC.fullmatch(text)
    if quotient:
        return _mixed(*quotient.groups())
    repeating = _REPEATING.fullmatch(text)
    return _repeating(*repeating.groups()) if repeating else None


def decimal(digits: str) -> Exact:
    """The value of digits with a point, perhaps."""
    # `Fraction("1.5")` says the same, and takes four times as long
    whole, _, behind = digits.partition(".")
    behind = behind.rstrip("0")
    return Fraction(int(whole + behind), 10 ** len(behind)) if behind else int(whole or 0)


def _mixed(sign: str, whole: str | None, above: str, below: str) -> Fraction | None:
    divisor = decimal(below)
    if not divisor or (whole and above.startswith("-")):
        return None
    value = Fraction(decimal(above.removeprefix("-")), divisor) + int(whole or 0)
    if above.startswith("-"):
        value = -value
    return -value if sign == "-" else value


def _repeating(sign: str, whole: str, fixed: str, period: str) -> Fraction:
    scale = 10 ** len(fixed)
    value = Fraction(int((whole + fixed) or 0), scale)
    value += Fraction(int(period), scale * (10 ** len(period) - 1))
    return -value if sign == "-" else value
