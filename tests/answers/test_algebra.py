"""What math-verify decides, against sympy; and numbers, which are decided exactly, against math-verify."""

import random
from collections.abc import Iterator

import pytest
import sympy

from w2s_core.answers.grading import Grader


@pytest.fixture(scope="module")
def algebra() -> Iterator[Grader]:
    with Grader("math") as grader:
        yield grader


def test_classes_see_through_algebra(algebra):
    answers = ["x+1", None, "2", "1+x", r"\frac{4}{2}", "x+2", r"\frac{2x+2}{2}"]
    assert algebra.classes(answers) == [0, None, 1, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        (r"\frac{x}{2}", r"\frac{1}{2}x", True),
        ("(x+1)^2", "x^2+2x+1", True),
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"\{1, 2\}", r"\{2, 1\}", True),
        (r"(1, 2)", r"\left(1,2\right)", True),
        (r"\frac{\pi}{2}", r"0.5\pi", True),
        ("(1, 2)", "(2, 1)", False),
        ("x+1", "x-1", False),
        (r"\sqrt{2}", r"\sqrt{3}", False),
        (r"5\pi", "5", False),
        ("[0, 1)", "[0, 1]", False),
        (r"\frac{x}{2", "x", False),
        (r"\undefined{{{", "x+1", False),
        ("\ud800x", "x+1", False),
    ],
)
def test_algebra_is_decided_by_math_verify(algebra, one, other, same):
    assert algebra.same(one, other) is same


@pytest.mark.slow
def test_random_polynomials_against_sympy(algebra):
    """Expanded and factored forms that sympy itself made, and the same off by a bit."""
    random_ = random.Random(5)
    x = sympy.Symbol("x")
    for _ in range(12):
        roots = [random_.randint(-9, 9) for _ in range(random_.randint(1, 3))]
        factored = random_.randint(2, 7) * sympy.prod([x - root for root in roots])
        expanded = sympy.expand(factored)
        off = expanded + random_.choice([1, -3, x])
        assert sympy.simplify(expanded - factored) == 0 != sympy.simplify(off - factored)
        assert algebra.same(sympy.latex(factored), sympy.latex(expanded)) is True
        assert algebra.same(sympy.latex(factored), sympy.latex(off)) is False


def written(value: sympy.Rational, random_: random.Random) -> str:
    """One of the ways in which responses write a number of at most two decimals."""
    scale = random_.randint(2, 5)
    above, below = value.p, value.q
    ways = [
        rf"\frac{{{above}}}{{{below}}}",
        f"{above}/{below}",
        rf"\frac{{{above * scale}}}{{{below * scale}}}",
    ]
    ways += [f"{float(value):.2f}", f"{float(value):.4f}", rf"\dfrac{{{above}}}{{{below}}}"]
    ways += [f"{above}", f"{above}.0", f"{above:,}"] if below == 1 else []
    return random_.choice(ways)


@pytest.mark.slow
def test_the_exact_path_agrees_with_math_verify_on_numbers():
    """A second library's word on two hundred pairs of numbers; the grader decides them without it."""
    from math_verify import parse, verify

    random_ = random.Random(11)
    with Grader("math") as grader:
        for _ in range(200):
            one = sympy.Rational(random_.randint(-500_000, 500_000), random_.choice([1, 1, 2, 4, 100]))
            other = one if random_.random() < 0.5 else one + sympy.Rational(random_.randint(1, 900), 100)
            left, right = written(one, random_), written(other, random_)
            theirs = verify(
                *(parse(f"${text}$", parsing_timeout=None) for text in (left, right)), timeout_seconds=None
            )
            assert grader.same(left, right) is (one == other) is theirs, (left, right)


def test_letters_side_by_side_are_a_product(algebra):
    assert algebra.same("xy", "yx") is True
    assert algebra.same("xy", r"x \cdot y") is True
