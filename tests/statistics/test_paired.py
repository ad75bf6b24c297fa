"""Paired tests against scipy and brute force, and Holm's correction against its definition."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from w2s_core.errors import UserError
from w2s_core.statistics import (
    crossed_bootstrap,
    holm,
    mcnemar_exact,
    paired_difference,
    paired_permutation,
    same_ids,
)


def test_unequal_ids_are_refused_and_shown() -> None:
    with pytest.raises(UserError) as error:
        paired_difference(
            {"a": 1, "b": 0, "x": 1}, {"a": 1, "b": 0, "y": 1, "z": 0}, names=("floor", "M_plus")
        )
    message = str(error.value)
    assert "1 only in floor (x)" in message
    assert "2 only in M_plus (y, z)" in message
    assert "\n" not in message
    assert same_ids({"b", "a"}, {"a", "b"}) == ["a", "b"]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("abc", "abcd", "1 only in B (d)"),
        ("abcd", "d", "3 only in A (a, b, c)"),
        ("dcbae", "ef", "4 only in A (a, b, c, ...); 1 only in B (f)"),
    ],
)
def test_three_ids_of_either_side_are_shown(first: str, second: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        same_ids(set(first), set(second))
    assert str(error.value) == f"A and B were graded on different questions: {problem}"


def test_difference_is_joined_by_id_not_by_position() -> None:
    first = {f"q{i}": float(i % 2) for i in range(40)}
    second = dict(reversed([(name, 1.0) for name in first]))
    found = paired_difference(first, second)
    assert found.value == 0.5
    assert found.se == pytest.approx(stats.sem([1 - v for v in first.values()]))
    assert paired_difference(first, first).value == 0


def test_pairing_uses_that_both_answer_the_same_questions() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300) < 0.5
    first = {str(i): float(h) for i, h in enumerate(hard)}
    second = {str(i): float(h or rng.random() < 0.1) for i, h in enumerate(hard)}
    paired = paired_difference(first, second)
    unpaired = math.hypot(stats.sem(list(first.values())), stats.sem(list(second.values())))
    assert paired.low > 0
    assert paired.se < unpaired / 2


def test_a_paired_difference_is_the_crossed_bootstrap_of_both_tables() -> None:
    rng = np.random.default_rng(0)
    first, second = ({f"{i:02}": float(x) for i, x in enumerate(rng.random(12))} for _ in range(2))
    clusters = {name: int(name) // 3 for name in first}
    tables = [[[*first.values()]], [[*second.values()]]]
    whole = crossed_bootstrap(
        tables,
        lambda means: means[..., 1] - means[..., 0],
        clusters=[*clusters.values()],
        level=0.8,
        draws=50,
        seed=3,
    )
    assert paired_difference(first, second, clusters, level=0.8, draws=50, seed=3) == whole
    assert paired_difference(first, second) == paired_difference(first, second, seed=0)
    with pytest.raises(UserError, match=r"^A and B were graded"):
        paired_difference(first, {})


def test_clusters_go_by_id() -> None:
    first = {f"q{i}": 0.0 for i in range(12)}
    second = {f"q{i}": float(i // 4 == 1) for i in range(12)}
    alone = paired_difference(first, second)
    clustered = paired_difference(first, second, {f"q{i}": i // 4 for i in range(12)})
    assert clustered.clusters == 3
    assert clustered.se > alone.se


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(b, c) == mcnemar_exact(c, b)


def test_mcnemar_of_large_and_impossible_counts() -> None:
    assert mcnemar_exact(3000, 3000) == 1.0
    assert 0 < mcnemar_exact(2900, 3100) < 0.02
    with pytest.raises(UserError):
        mcnemar_exact(-1, 3)
    with pytest.raises(UserError):
        mcnemar_exact(3, -1)


def permutation_by_brute_force(differences: list[float]) -> float:
    observed = abs(sum(differences)) - 1e-9
    patterns = list(itertools.product([-1, 1], repeat=len(differences)))
    hits = sum(abs(sum(s * d for s, d in zip(p, differences, strict=True))) >= observed for p in patterns)
    return hits / len(patterns)


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.3, 1.0]), min_size=1, max_size=9))
def test_permutation_counts_all_patterns_when_there_are_few(differences: list[float]) -> None:
    assert paired_permutation(differences) == pytest.approx(permutation_by_brute_force(differences))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 8), st.integers(0, 8))
def test_permutation_of_yes_or_no_is_mcnemar(b: int, c: int) -> None:
    assert paired_permutation([-1.0] * b + [1.0] * c + [0.0] * 20) == pytest.approx(mcnemar_exact(b, c))


def test_sampled_permutation_is_near_the_exact_p_never_zero_and_deterministic() -> None:
    differences = [1.0] * 22 + [-1.0] * 10
    exact = mcnemar_exact(22, 10)
    assert paired_permutation(differences, draws=20_000) == pytest.approx(exact, abs=0.006)
    assert paired_permutation(differences, seed=3) == paired_permutation(differences, seed=3)
    assert paired_permutation([1.0] * 60, draws=999) == pytest.approx(1 / 1000)


def test_sixteen_units_are_counted_and_more_are_drawn() -> None:
    assert paired_permutation([1.0] * 16) == 2 / 2**16
    assert paired_permutation([1.0] * 17, draws=99) == 1 / 100
    assert paired_permutation([1.0] * 60) == 1 / 10_001
    mixed = [1.0] * 22 + [-1.0] * 10
    assert paired_permutation(mixed) == paired_permutation(mixed, seed=0) != paired_permutation(mixed, seed=1)


@pytest.mark.parametrize("draws", [500, 1000, 2500])
def test_drawn_patterns_are_those_of_one_block(draws: int) -> None:
    units = np.array([1.0] * 22 + [-1.0] * 10)
    signs = np.random.default_rng(0).integers(0, 2, (draws, 32)) * 2 - 1
    hits = sum(abs(float(pattern @ units)) > 11.5 for pattern in signs)
    assert paired_permutation([*units, 0.0], draws=draws) == (hits + 1) / (draws + 1)
    assert paired_permutation([1.0] * 9 + [-1.0] * 8, draws=draws) == 1, "no pattern's sum is nearer to 0"


def test_permutation_swaps_whole_clusters() -> None:
    assert paired_permutation([1.0] * 8, clusters=[0, 0, 0, 0, 1, 1, 1, 1]) == 0.5
    assert paired_permutation([]) == paired_permutation([], []) == 1.0
    assert paired_permutation([0.0, 0.0]) == 1.0


P_VALUES = st.dictionaries(st.integers(), st.floats(0, 1), max_size=8)


@given(P_VALUES, st.floats(0.001, 0.2))
def test_holm_rejects_as_its_step_down_procedure_does(p_values: dict[int, float], alpha: float) -> None:
    rejected = set()
    for rank, name in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        if p_values[name] * (len(p_values) - rank) > alpha:
            break
        rejected.add(name)
    adjusted = holm(p_values)
    assert {name for name, p in adjusted.items() if p <= alpha} == rejected


def test_holm_by_hand_and_what_was_not_tested_stays_out() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": math.nan})
    assert found["a"] == pytest.approx(0.03)
    assert found["c"] == pytest.approx(0.06)
    assert found["b"] == pytest.approx(0.06), "never below a smaller p's"
    assert math.isnan(found["d"])
    assert holm({}) == {}
    with pytest.raises(UserError, match="no probability"):
        holm({"a": 1.5})
