r"""The benchmark's respellings say what the text says; that is held against fractions, not against the grader."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.respellings import crude, respellings

_WRAPPING = re.compile(r"\\(?:displaystyle|textstyle|boxed|[()!;, ])|[ ${}]|\.$")


def plain_value(text: str) -> str | Fraction:
    """The value under what may be wrapped around a number."""
    fraction = re.search(r"(-?)\s*\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", text)
    if fraction:
        value = Fraction(int(fraction[2]), int(fraction[3]))
        return -value if fraction[1] else value
    bare = _WRAPPING.sub("", text).replace(",", "")
    return Fraction(bare) if re.fullmatch(r"-?[\d.]+(?:/\d+)?", bare) else crude(bare)


@given(st.integers(-(10**7), 10**7))
def test_whole_numbers(number: int) -> None:
    ways = respellings(str(number))
    assert len(ways) == len(set(ways)) == 12
    assert {plain_value(way) for way in ways} == {number}


@given(st.integers(-500, 500), st.integers(2, 500))
def test_fractions(numerator: int, denominator: int) -> None:
    sign = "-" if numerator < 0 else ""
    ways = respellings(rf"{sign}\frac{{{abs(numerator)}}}{{{denominator}}}")
    assert len(ways) == 12
    assert {plain_value(way) for way in ways} == {Fraction(numerator, denominator)}


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("(3,4]", r"\left(3,4\right]"),
        (r"\left(3,4\right)", "(3,4)"),
        (r"\{1, 2\}", r"\{2, 1\}"),
        ("1,-2", "-2, 1"),
        (r"(0,1) \cup (2,3)", r"(2,3) \cup (0,1)"),
        (r"\text{even}", "even"),
        (r"36^\circ", "36 degrees"),
        (r"10,\!080", "10,080"),
        ("12345", r"12,\!345"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \\ \end{pmatrix}"),
        (r"2\sqrt{5}", r"2 \cdot \sqrt{5}"),
    ],
)
def test_forms(text: str, way: str) -> None:
    assert way in respellings(text)


def test_order_that_counts_is_kept() -> None:
    for text in ("(1,2)", "[1,2)", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "1,234"):
        digits = re.findall(r"\d", text)
        assert all(re.findall(r"\d", way)[: len(digits)] == digits for way in respellings(text))
