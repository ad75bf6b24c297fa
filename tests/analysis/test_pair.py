"""The paired comparison against counting by hand and scipy."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.dashboard.stores import compute, shown_grades
from w2s_analysis.reading.pair import SIDES, compare_pair
from w2s_core.engine import Handle, Store
from w2s_core.errors import UserError
from w2s_core.rows import read_rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def graded(store: Store, run: str, **params: object) -> str:
    handle: Handle = shown_grades(**({"run": run, "split": "test", "n": 240, "accuracy": 0.6} | params))
    compute(store, handle)
    return handle.key


def rights(store: Store, key: str) -> dict[str, bool]:
    rows = read_rows(store.path(key) / "grades.parquet")
    return {row["id"]: row["verdicts"][0] == "right" for row in rows}


def test_difference_sides_and_levels_are_those_of_counting(store: Store) -> None:
    a, b = graded(store, "a"), graded(store, "b", accuracy=0.7)
    first, second = rights(store, a), rights(store, b)
    pair = compare_pair(store, a, b)
    only_a = sum(first[i] and not second[i] for i in first)
    only_b = sum(second[i] and not first[i] for i in first)
    assert pair.whole.difference.value == pytest.approx((only_b - only_a) / len(first))
    assert pair.whole.difference.low < pair.whole.difference.value < pair.whole.difference.high
    assert (pair.whole.sides["only A"], pair.whole.sides["only B"]) == (only_a, only_b)
    assert sum(pair.whole.sides.values()) == pair.whole.difference.n == 240
    assert pair.whole.mcnemar == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)
    assert [part.level for part in pair.levels] == [1, 2, 3, 4, 5, 6]
    for side in SIDES:
        assert sum(part.sides[side] for part in pair.levels) == pair.whole.sides[side]
    weights = [part.difference.n for part in pair.levels]
    mean = np.average([part.difference.value for part in pair.levels], weights=weights)
    assert pair.whole.difference.value == pytest.approx(mean)
    assert all(pair.adjusted[part.level] >= part.p for part in pair.levels)


def test_swapping_the_sides_turns_the_sign_and_keeps_p(store: Store) -> None:
    a, b = graded(store, "a"), graded(store, "b", accuracy=0.8)
    there, back = compare_pair(store, a, b).whole, compare_pair(store, b, a).whole
    assert back.difference.value == pytest.approx(-there.difference.value)
    assert back.p == pytest.approx(there.p, abs=0.02)
    assert (back.sides["only A"], back.mcnemar) == (there.sides["only B"], there.mcnemar)


def test_a_large_difference_is_found_and_none_is_not(store: Store) -> None:
    a, b = graded(store, "a", accuracy=0.3), graded(store, "b", accuracy=0.9)
    assert compare_pair(store, a, b).whole.p < 0.001
    assert compare_pair(store, a, b).whole.difference.low > 0
    same = compare_pair(store, a, a).whole
    assert (same.difference.value, same.p, same.mcnemar) == (0, 1, 1)


def test_pass_at_10_is_compared_by_its_own_scores(store: Store) -> None:
    a, b = (graded(store, name, samples=10, accuracy=acc, n=60) for name, acc in (("a", 0.1), ("b", 0.3)))
    pair = compare_pair(store, a, b, measure="pass")
    any_right = [
        np.mean(["right" in row["verdicts"] for row in read_rows(store.path(key) / "grades.parquet")])
        for key in (a, b)
    ]
    assert pair.whole.difference.value == pytest.approx(any_right[1] - any_right[0])


def test_other_questions_are_refused_with_the_names_of_some(store: Store) -> None:
    a, b = graded(store, "a"), graded(store, "b", n=120)
    with pytest.raises(UserError, match=r"120 only in run a \(test-00120, "):
        compare_pair(store, a, b, names=("run a", "run b"))


def test_a_result_that_is_not_there_is_said(store: Store) -> None:
    missing = shown_grades(run="x", split="test", n=3, accuracy=0.5).key
    with pytest.raises(UserError, match=r"^B: the result [0-9a-f]{12} is not computed yet$"):
        compare_pair(store, graded(store, "a"), missing)


def test_pass_at_10_of_single_answers_is_refused(store: Store) -> None:
    key = graded(store, "a")
    with pytest.raises(UserError, match="needs 10 responses a question, there are 1"):
        compare_pair(store, key, key, measure="pass")
