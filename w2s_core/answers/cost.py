"""What a formula would cost algebra, before it is asked: some of a few signs cannot be computed by any machine.

sympy writes powers, factorials and binomials of numbers out, and computes functions to as many digits as their values
have. The bits of both follow from the tree, so that such a formula is refused by what it is and not by a clock.
"""

from fractions import Fraction
from math import inf, log2
from typing import Final, NamedTuple

from w2s_core.answers import values
from w2s_core.answers.expressions import Tree

MAX_BITS: Final = 2**19
"""Of any number that computing a formula needs: about 158,000 decimal digits, which takes a fraction of a second."""
MAX_CHOICES: Final = 2**15
"""Bits of a binomial, which is computed factor by factor."""
MAX_TOWER: Final = 8
"""Exponents without an exact value inside each other: from about 14, sympy is lost in what it asks of their signs."""
LETTER_BITS: Final = 31
"""Of the values that `algebra` gives to letters: fractions, all of them below 2^LETTER_SIZE."""
LETTER_SIZE: Final = 2.42


class TooLarge(Exception):
    """A formula needs numbers beyond the bounds."""


class _Cost(NamedTuple):
    """Upper bounds.

    Attributes:
        size: log2 of the value.
        bits: of the exact numbers that it is made of.
        tower: exponents without an exact value inside each other.
    """

    size: float
    bits: float
    tower: int


def check(tree: Tree) -> None:
    """Raise TooLarge for a formula that is beyond the bounds."""
    _cost(tree)


def _cost(tree: Tree) -> _Cost:
    name, *operands = tree
    if name == "number":
        number = operands[0]
        bits = number.numerator.bit_length() + number.denominator.bit_length()
        return _Cost(max(_log2(number), 0.0), bits, 0)
    if name == "symbol":
        return _Cost(LETTER_SIZE, LETTER_BITS, 0)
    if name == "function":
        name, operands = operands[0], operands[1:]
    costs = [_cost(operand) for operand in operands]
    cost = _of_operation(name, operands, costs)
    if max(cost.size, cost.bits) > MAX_BITS or cost.tower > MAX_TOWER:
        raise TooLarge
    return cost


def _of_operation(name: str, operands: list[Tree], costs: list[_Cost]) -> _Cost:
    bits = sum(cost.bits for cost in costs) + 1
    tower = max(cost.tower for cost in costs)
    first, last = costs[0], costs[-1]
    if name == "power":
        return _power(operands, first, last)
    if name == "root":
        degree = _exact_size(operands[1])
        return _Cost(*_times(first, 2**-degree if degree is not None else 1.0), tower)
    if name in ("exp", "sinh", "cosh"):
        return _Cost(1.5 * _two_to(first.size), bits, tower)
    if name == "factorial":
        size = first.size * _two_to(first.size)
        return _Cost(size, bits + (size if _exact_size(operands[0]) is not None else 0.0), tower)
    if name == "binomial":
        _check_choices(operands, first)
    if name == "divide":
        divisor = _exact_size(operands[1])
        return _Cost(max(first.size + (last.bits if divisor is None else -divisor), 0.0), bits, tower)
    size = sum(cost.size for cost in costs) + 1
    return _Cost(size, bits, tower)


def _power(operands: list[Tree], base: _Cost, exponent: _Cost) -> _Cost:
    exact = _exact_size(operands[1])
    times = _two_to(exponent.size if exact is None else exact)
    tower = max(base.tower, exponent.tower + (exact is None))
    if operands[0] in (("symbol", "e"), ("symbol", "π")):  # sympy leaves their powers as they are
        return _Cost(base.size * times, exponent.bits + base.bits, tower)
    size, bits = _times(base, times)
    return _Cost(size, bits + exponent.bits, tower)


def _times(base: _Cost, times: float) -> tuple[float, float]:
    """The size and bits of so high a power; a power of 1 stays 1."""
    return base.size * times, base.bits * max(times, 1.0) if base.bits > 2 else base.bits


def _check_choices(operands: list[Tree], above: _Cost) -> None:
    chosen = _exact_size(operands[1])
    if chosen is None:
        return
    rest = _exact_size(("add", operands[0], ("negative", operands[1])))
    fewest = min(chosen, chosen if rest is None else rest)
    if _two_to(fewest) * max(above.size, 1.0) > MAX_CHOICES:
        raise TooLarge


def _exact_size(tree: Tree) -> float | None:
    """log2 of an exact value's amount; None where there is no such value."""
    try:
        value = values.rational(tree)
    except ZeroDivisionError:
        return None
    return None if value is None else _log2(value)


def _log2(value: Fraction) -> float:
    return log2(abs(value.numerator)) - log2(value.denominator) if value else -inf


def _two_to(size: float) -> float:
    return 2.0**size if size < 1000 else inf
