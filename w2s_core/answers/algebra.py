"""Whether two formulas have one value: exactly where both are rational, else by their difference at growing precision.

sympy computes, and it can take any time over a small formula: this runs in processes that the kernel can end (`child`).
The difference is taken relative to the values, and no small term is ever set to zero: `9^{19}/10^{20}` is not
`9^{20}/10^{20}`, though both are nearly nothing. Letters get values, the same ones in every formula, so that the answer
for a pair cannot hang on which of the two is asked first.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from w2s_core.answers import cost, expressions

FIRST_DIGITS: Final = 40
"""Decimal digits. Values that agree in all of them are compared in many more."""
MORE_DIGITS: Final = 200
"""Beyond those of the numbers that the formulas hold: `10^{-300}` beside `\\sqrt{2}` needs 300."""
MOST_DIGITS: Final = 6_000
POINTS: Final = 5
"""Values that each letter gets, negative ones among them: a root of a square is no identity."""
MARGIN: Final = 15
"""Digits that rounding may cost."""

_RELATION = re.compile("[=≠<≤]")
_BRACES = re.compile(r"\{[^{}]*\}")


class Undecided(Exception):
    """No value can be computed at any of the points."""


def equal(first: str, second: str) -> bool | None:
    """Whether two formulas, or two relations (`x+1=y`), are the same; None where that is undecided."""
    signs = [_sign(text) for text in (first, second)]
    if signs[0] != signs[1]:
        return False
    try:
        if signs[0]:
            return _equal_relations(first, second, signs[0])
        return _equal_values(formula(first), formula(second))
    except Undecided:
        return None


def prepare(text: str) -> None:
    """Read the formulas of a text ahead, so that reading and comparing have their time each."""
    for side in _RELATION.split(text) if _sign(text) else [text]:
        formula(side)


def _sign(text: str) -> str:
    r"""The sign of a relation; a formula has none, but for those inside braces (`\sum_{k=1}`)."""
    while (outside := _BRACES.sub("", text)) != text:
        text = outside
    sign = _RELATION.search(text)
    return sign.group() if sign else ""


def _equal_relations(first: str, second: str, sign: str) -> bool:
    """Relations are the same if the differences of their sides are, up to a factor (a positive one for `<`)."""
    left, right = (_difference(text) for text in (first, second))
    ratios = []
    for point in _points(_letters(left, right)):
        above, below = _at(left, point, FIRST_DIGITS), _at(right, point, FIRST_DIGITS)
        if above is not None and below is not None and below != 0:
            ratios.append(above / below)
    if len(ratios) < 2 and _letters(left, right):
        raise Undecided
    alike = (
        all(_close(ratio, ratios[0], FIRST_DIGITS) for ratio in ratios) and bool(ratios) and ratios[0] != 0
    )
    return alike and (sign in "=≠" or ratios[0].real > 0)


def _difference(relation: str) -> Any:
    left, right = _RELATION.split(relation)
    return formula(left) - formula(right)


def _equal_values(first: Any, second: Any) -> bool:
    """Values of two formulas. Raises Undecided where neither can be computed anywhere."""
    if first == second:
        return True
    if first.is_Rational and second.is_Rational:
        return False
    if first.is_infinite or second.is_infinite:
        return False
    letters = _letters(first, second)
    points = _points(letters)
    known = 0
    for point in points:
        outcome = _equal_at(first, second, point)
        if outcome is False:
            return False
        known += outcome is not None
    if known < min(2, len(points)):
        raise Undecided
    return True


def _equal_at(first: Any, second: Any, point: Mapping[Any, Any]) -> bool | None:
    """Whether two formulas have one value where their letters have these values; None where one has no value there."""
    for digits in (FIRST_DIGITS, MORE_DIGITS + _digits_of(first) + _digits_of(second)):
        if digits > MOST_DIGITS:
            raise Undecided
        left, right = _at(first, point, digits), _at(second, point, digits)
        if left is None or right is None:
            return None
        if not _close(left, right, digits):
            return False
    return True


def _digits_of(formula_: Any) -> int:
    """How many digits the numbers in a formula span, exponents by their value."""
    import sympy

    numbers = [
        max(value.p.bit_length(), value.q.bit_length()) // 3 for value in formula_.atoms(sympy.Rational)
    ]
    powers = [abs(power.exp) for power in formula_.atoms(sympy.Pow, sympy.exp) if power.exp.is_Rational]
    return max(numbers, default=0) + int(min(max(powers, default=0), MOST_DIGITS))


def _at(formula_: Any, point: Mapping[Any, Any], digits: int) -> Any:
    """The value in decimal digits, complex where it must be; None where there is none."""
    mpmath = _mpmath()
    value = formula_.subs(point) if point else formula_
    value = value.doit().evalf(digits + MARGIN, maxn=20 * digits)
    if value.free_symbols or not value.is_number or value.has(*_no_values()):
        return None
    real, imaginary = value.as_real_imag()
    if not (real.is_Float or real.is_Rational) or not (imaginary.is_Float or imaginary.is_Rational):
        return None
    with mpmath.workdps(digits + MARGIN):
        return mpmath.mpc(_mpf(real, digits), _mpf(imaginary, digits))


@lru_cache(maxsize=1)
def _mpmath() -> Any:
    """The library of floating-point numbers under sympy."""
    import mpmath  # type: ignore[import-untyped]

    return mpmath


def _mpf(value: Any, digits: int) -> Any:
    mpmath = _mpmath()
    return mpmath.mpf(value._to_mpmath(int((digits + MARGIN) * 3.33)))


@lru_cache(maxsize=1)
def _no_values() -> tuple[Any, ...]:
    import sympy

    return (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)


def _close(first: Any, second: Any, digits: int) -> bool:
    mpmath = _mpmath()
    with mpmath.workdps(digits + MARGIN):
        size = max(abs(first), abs(second))
        return bool(size == 0 or abs(first - second) <= size * mpmath.mpf(10) ** (MARGIN - digits))


def _letters(*formulas: Any) -> list[Any]:
    return sorted(
        set().union(*(formula_.free_symbols for formula_ in formulas)), key=lambda letter: letter.name
    )


def _points(letters: list[Any]) -> list[dict[Any, Any]]:
    """Values for the letters, which hang on their names alone."""
    if not letters:
        return [{}]
    return [{letter: _number(letter.name, i) for letter in letters} for i in range(POINTS)]


def _number(name: str, point: int) -> Any:
    import sympy

    digest = hashlib.sha256(f"{name} {point}".encode()).digest()
    value = sympy.Rational(1 + int.from_bytes(digest[:2], "big"), 12_289)  # a prime; values up to 5.4
    return -value if point % 2 else value


# Formulas as sympy's expressions -----------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def formula(text: str) -> Any:
    """The formula for sympy.

    Raises:
        Undecided: a text that neither reader can read.
        cost.TooLarge: it cannot be computed.
    """
    tree = expressions.read(text)
    if tree is None:
        return _by_math_verify(text)
    cost.check(tree)
    return _built(tree)


def _built(tree: expressions.Tree) -> Any:
    import sympy

    name, *operands = tree
    if name == "number":
        return sympy.Rational(operands[0].numerator, operands[0].denominator)
    if name == "symbol":
        constants = {"π": sympy.pi, "e": sympy.E, "i": sympy.I, "∞": sympy.oo}
        return constants.get(operands[0], sympy.Symbol(operands[0]))
    if name == "function":
        return _functions()[operands[0]](_built(operands[1]))
    return _operations()[name](*map(_built, operands))


@lru_cache(maxsize=1)
def _functions() -> dict[str, Any]:
    import sympy

    names = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp")
    own = {name: getattr(sympy, name) for name in names}
    inverse = {f"arc{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan")}
    short = {f"a{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan")}
    ten = {name: lambda value: sympy.log(value, 10) for name in ("log", "lg")}
    return own | inverse | short | ten | {"ln": sympy.log}


@lru_cache(maxsize=1)
def _operations() -> dict[str, Any]:
    import sympy

    return {
        "add": lambda left, right: left + right,
        "negative": lambda value: -value,
        "multiply": lambda left, right: left * right,
        "divide": lambda left, right: left / right,
        "power": lambda base, exponent: base**exponent,
        "root": lambda value, degree: (
            sympy.real_root(value, degree) if value.is_number else value ** (1 / degree)
        ),
        "log": sympy.log,
        "factorial": sympy.factorial,
        "binomial": sympy.binomial,
        "absolute": sympy.Abs,
        "floor": sympy.floor,
        "ceil": sympy.ceiling,
        "degrees": lambda value: value * sympy.pi / 180,
    }


_LATEX: Final = {"π": r"\pi ", "∞": r"\infty ", "*": r"\cdot ", "°": r"^{\circ}"}


def _by_math_verify(text: str) -> Any:
    """Integrals, sums and limits, which math-verify's reader knows; floats there become exact fractions."""
    import sympy
    from math_verify import LatexExtractionConfig, parse

    for sign, command in _LATEX.items():
        text = text.replace(sign, command)
    parsed = parse(
        f"${text}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )
    if not parsed or not isinstance(parsed[0], sympy.Expr):
        raise Undecided
    return sympy.nsimplify(parsed[0].doit(), rational=True)
