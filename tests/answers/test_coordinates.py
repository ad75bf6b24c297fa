"""Commas inside round brackets part coordinates, whose order counts; a list of solutions has none."""

import pytest

from w2s_core.answers.grading import Grader


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("(0,3)", "(0, 3)", "right"),
        ("(0,3)", "(3,0)", "wrong"),
        ("(1,2,3)", "(3,2,1)", "wrong"),
        ("0,3", "3, 0", "right"),
        (r"\{0,3\}", "3,0", "right"),
        ("(5)", "5", "right"),
        ("(-1/2)", "-0.5", "right"),
    ],
)
def test_order_counts_in_round_brackets_only(one: str, other: str, expected: str) -> None:
    with Grader("math") as grader:
        assert [str(verdict) for verdict in grader.grade([(one, other), (other, one)])] == [expected] * 2
