"""Exact values of formulas: fractions of bounded size. Everything else is left to `algebra`."""

from fractions import Fraction
from math import comb, factorial, isqrt
from typing import Any

from w2s_core.answers.expressions import Tree

MAX_BITS = 4096
"""Of an exact value's numerator or denominator, as far as it is computed here."""


def rational(tree: Tree) -> Fraction | None:
    """The exact value of a tree without letters, if it is rational and of bounded size; None otherwise.

    Raises:
        ZeroDivisionError: it divides by zero.
    """
    return _value(tree)


def _value(tree: Tree) -> Fraction | None:
    name, *operands = tree
    if name == "number":
        return Fraction(operands[0])
    operation = _OPERATIONS.get(name)
    if operation is None:
        return None
    values = [_value(operand) for operand in operands]
    if any(value is None for value in values):
        return None
    result = operation(*values)
    return result if result is not None and _bits(result) <= MAX_BITS else None


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        root = _root(base, Fraction(exponent.denominator))
        return None if root is None else _power(root, Fraction(exponent.numerator))
    if abs(exponent) * max(_bits(base) - 1, 1) > MAX_BITS and abs(base) not in (0, 1):
        return None
    return base ** int(exponent)


def _root(value: Fraction, degree: Fraction) -> Fraction | None:
    if degree.denominator != 1 or not 0 < degree <= 64 or value < 0:
        return None
    above, below = (_whole_root(part, int(degree)) for part in (value.numerator, value.denominator))
    return None if above is None or below is None else Fraction(above, below)


def _whole_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = isqrt(value)
    else:
        root = 1 << -(-value.bit_length() // degree)
        while root**degree > value:  # Newton's steps from above
            root = ((degree - 1) * root + value // root ** (degree - 1)) // degree
    return root if root**degree == value else None


def _log(value: Fraction, base: Fraction) -> Fraction | None:
    """The whole exponent, if there is one."""
    if value <= 0 or base <= 0 or base == 1:
        return None
    for exponent in range(-64, 65):
        if _power(base, Fraction(exponent)) == value:
            return Fraction(exponent)
    return None


def _factorial(value: Fraction) -> Fraction | None:
    return Fraction(factorial(int(value))) if value.denominator == 1 and 0 <= value <= 400 else None


def _binomial(above: Fraction, below: Fraction) -> Fraction | None:
    if above.denominator != 1 or below.denominator != 1 or not 0 <= below <= above <= 2000:
        return None
    return Fraction(comb(int(above), int(below)))


_OPERATIONS: dict[str, Any] = {
    "add": lambda left, right: left + right,
    "negative": lambda value: -value,
    "multiply": lambda left, right: left * right,
    "divide": lambda left, right: left / right,
    "power": _power,
    "root": _root,
    "log": _log,
    "factorial": _factorial,
    "binomial": _binomial,
    "absolute": abs,
    "floor": lambda value: Fraction(value.__floor__()),
    "ceil": lambda value: Fraction(value.__ceil__()),
}
