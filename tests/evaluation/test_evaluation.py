"""Grades: pass@k and maj@k against enumeration of all draws, and counts that add up."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle_evaluation as ev
from w2s_core.errors import UserError
from w2s_core.statistics.scores import pass_at_k


def row(*verdicts: str, level: int | None = 1, answers: list[str | None] | None = None) -> dict[str, object]:
    n = len(verdicts)
    return {
        "id": "q",
        "level": level,
        "template": "t",
        "answers": answers or [None if v == "unparsed" else v for v in verdicts],
        "verdicts": list(verdicts),
        "tokens": [10] * n,
        "finish": ["length" if v == "unparsed" else "eos" for v in verdicts],
    }


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_equals_the_share_of_draws_that_hold_a_right_response(nck: tuple[int, int, int]) -> None:
    n, c, k = nck
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_is_stable_where_binomials_overflow_floats() -> None:
    exact = 1 - Fraction(math.comb(9_990, 100), math.comb(10_000, 100))
    assert pass_at_k(10_000, 10, 100) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1), (0, 0, 1)])
def test_pass_at_k_refuses_draws_that_cannot_be(n: int, c: int, k: int) -> None:
    with pytest.raises(UserError):
        pass_at_k(n, c, k)


def majority_by_enumeration(classes: list[int | None], right: int | None, k: int) -> float:
    total = 0.0
    draws = list(itertools.combinations(classes, k))
    for draw in draws:
        votes = [one for one in draw if one is not None]
        if not votes:
            continue
        most = max(votes.count(one) for one in set(votes))
        top = [one for one in set(votes) if votes.count(one) == most]
        total += (right in top) / len(top)
    return total / len(draws)


@given(
    st.lists(st.sampled_from([None, 0, 1, 2, 3]), min_size=1, max_size=8).flatmap(
        lambda classes: st.tuples(
            st.just(classes), st.sampled_from([None, 0, 1]), st.integers(1, len(classes))
        )
    )
)
def test_maj_at_k_equals_enumeration_of_all_draws(case: tuple[list[int | None], int | None, int]) -> None:
    classes, right, k = case
    assert ev.maj_at_k(classes, right, k) == pytest.approx(
        majority_by_enumeration(classes, right, k), abs=1e-12
    )


def test_maj_at_1_is_accuracy_and_silent_responses_cast_no_vote() -> None:
    assert ev.maj_at_k([0, 0, 1, None], 0, 1) == 0.5
    assert ev.maj_at_k([0, None, None], 0, 3) == 1.0
    assert ev.maj_at_k([None, None], 0, 2) == 0.0
    assert ev.maj_at_k([0, 1], 0, 2) == 0.5, "a tie counts its share"


def test_right_answers_of_several_spellings_are_one_class() -> None:
    spelled = row("right", "right", "wrong", "wrong", answers=["1/2", "0.5", "3", "4"])
    assert ev.mean_maj_at_k([spelled], 4) == 1.0


def test_counts_add_up_and_truncated_cuts_across() -> None:
    found = ev.counts([row("right", "wrong"), row("unparsed", "timed_out")])
    assert (found.questions, found.responses, found.tokens) == (2, 4, 40)
    assert (found.right, found.wrong, found.unparsed, found.timed_out) == (1, 1, 1, 1)
    assert found.truncated == 1


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(UserError, match="maybe"):
        ev.counts([row("maybe")])


def test_accuracy_by_level_in_order_of_difficulty_with_unknown_levels_last() -> None:
    grades = [
        row("right", level=2),
        row("wrong", level=2),
        row("right", level=1),
        row("timed_out", level=None),
    ]
    assert ev.by_level(grades) == {1: 1.0, 2: 0.5, None: 0.0}
    assert list(ev.by_level(grades)) == [1, 2, None]
    assert ev.accuracy(grades) == 0.5


def test_nothing_to_measure_is_nan() -> None:
    assert math.isnan(ev.accuracy([]))
    assert math.isnan(ev.mean_pass_at_k([], 1))
    assert math.isnan(ev.label_quality([], 10).precision)
    assert ev.label_quality([], 10).coverage == 0.0
    assert ev.by_level([]) == {}


def test_label_quality() -> None:
    found = ev.label_quality([row("right"), row("wrong"), row("right")], 6)
    assert (found.rows, found.right, found.coverage) == (3, 2, 0.5)
    assert found.precision == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="3 rows"):
        ev.label_quality([row("right")] * 3, 2)
