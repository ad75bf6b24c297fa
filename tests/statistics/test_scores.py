"""Means, standard errors and Wilson's interval, against the closed formulas, scipy and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from w2s_core.errors import UserError
from w2s_core.statistics import (
    bootstrap_mean,
    crossed_bootstrap,
    crossed_variance,
    mean_and_se,
    quantile_t,
    score,
    wilson,
)
from w2s_core.statistics.estimates import effective_size, wilson_bounds

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


@given(SCORES)
def test_standard_error_is_scipys_and_the_formula(scores: list[float]) -> None:
    n, mean = len(scores), sum(scores) / len(scores)
    formula = math.sqrt(sum((s - mean) ** 2 for s in scores) / (n * (n - 1)))
    found_mean, found_se = mean_and_se(scores)
    assert found_mean == pytest.approx(mean)
    assert found_se == pytest.approx(formula, abs=1e-12)
    assert found_se == pytest.approx(float(stats.sem(scores)), abs=1e-12)


def test_clustered_standard_error_is_that_of_cluster_totals() -> None:
    rng = np.random.default_rng(0)
    scores, clusters = rng.random(40), rng.integers(0, 7, 40).tolist()
    mean = scores.mean()
    totals = [
        sum(s - mean for s, c in zip(scores, clusters, strict=True) if c == one) for one in set(clusters)
    ]
    expected = math.sqrt(7 / 6 * sum(t * t for t in totals)) / 40
    assert mean_and_se(scores, clusters)[1] == pytest.approx(expected)


def test_copies_of_questions_in_one_cluster_do_not_add_information() -> None:
    scores = np.array([0, 1, 1, 0, 1, 1, 0, 1], dtype=float)
    copied, clusters = np.repeat(scores, 5), np.repeat(np.arange(8), 5).tolist()
    assert mean_and_se(copied, clusters)[1] == pytest.approx(mean_and_se(scores)[1])
    assert mean_and_se(copied)[1] < mean_and_se(scores)[1]


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(right_n: tuple[int, int]) -> None:
    right, n = right_n
    found, expected = wilson(right, n), stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("right", "n"), [(3, 10), (0, 4), (7, 7), (1, 2)])
def test_a_share_has_the_error_of_its_mean(right: int, n: int) -> None:
    share = wilson(right, n)
    assert share.value == right / n
    assert share.se == pytest.approx(stats.sem([1] * right + [0] * (n - right)))
    assert [df for _, df in share.spread.parts] == [n - 1]
    assert (share.n, share.seeds, share.clusters) == (n, 1, n)


def test_a_lone_question_has_an_interval_and_no_error() -> None:
    share = wilson(1, 1)
    assert (share.value, share.high, share.n, share.clusters) == (1, 1, 1, 1)
    assert not share.spread.known


@pytest.mark.parametrize("n", [1, 50, 1000])
@pytest.mark.parametrize("share", [1e-17, 1e-12, 1 - 1e-15, 1 - 2**-53])
def test_rounding_takes_no_end_of_wilsons_interval_outside_0_and_1(share: float, n: int) -> None:
    for z in (1.2, 1.96, 2.5, 4.3):
        low, high = wilson_bounds(share, n, z)
        assert 0 <= low < high <= 1


def test_effective_size_is_the_number_of_questions_that_gives_the_variance() -> None:
    assert effective_size(0.3, 0.3 * 0.7 / 50) == pytest.approx(50)
    assert effective_size(0.0, 0.1) == 0
    assert effective_size(0.3, 0.0) == math.inf


def test_score_of_one_seed_without_clusters_is_wilson_at_the_size_that_its_variance_gives() -> None:
    scores = np.array([1.0] * 30 + [0.0] * 70)
    effective = 99  # p (1 - p) over the unbiased variance of the mean, p (1 - p) / (n - 1)
    z = quantile_t(99)
    expected = stats.binomtest(30, 100).proportion_ci(
        confidence_level=math.erf(z / math.sqrt(2)), method="wilson"
    )
    found = score(scores)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3)
    assert found.value == 0.3
    assert effective == round(0.3 * 0.7 / found.se**2)


@given(st.integers(1, 4), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_score_keeps_inside_0_and_1_and_around_its_value(seeds: int, n: int, seed: int) -> None:
    found = score(np.random.default_rng(seed).integers(0, 2, (seeds, n)))
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_a_score_counts_questions_seeds_and_clusters() -> None:
    scores = score(np.eye(3, 8), np.arange(8) // 2)
    assert (scores.n, scores.seeds, scores.clusters) == (8, 3, 4)


def test_a_bootstrapped_mean_is_the_crossed_bootstrap_of_one_table() -> None:
    table, clusters = np.random.default_rng(0).random((2, 12)), [i // 3 for i in range(12)]
    whole = crossed_bootstrap(
        table[None], lambda means: means[..., 0], clusters=clusters, level=0.8, draws=50, seed=3
    )
    assert bootstrap_mean(table, clusters, level=0.8, draws=50, seed=3) == whole
    assert bootstrap_mean(table, seed=0) == bootstrap_mean(table)


def test_all_right_all_wrong_one_and_none() -> None:
    right, wrong = score(np.ones((3, 20))), score(np.zeros((3, 20)))
    assert (right.value, right.high, wrong.value, wrong.low) == (1, 1, 0, 0)
    assert right.low == pytest.approx(wilson(20, 20).low), "20 questions, however many seeds agree"
    one = score([1.0])
    assert one.value == 1
    assert math.isnan(one.se)
    assert 0 < one.low < 0.5
    for empty in (score([]), score(np.empty((0, 5))), wilson(0, 0), bootstrap_mean([])):
        assert math.isnan(empty.value)
        assert math.isnan(empty.low)
        assert math.isnan(empty.high)
    assert [(empty.n, empty.seeds, empty.clusters) for empty in (wilson(0, 0), score(np.empty((3, 0))))] == [
        (0, 1, 0),
        (0, 3, 0),
    ]
    assert all(map(math.isnan, mean_and_se([])))
    assert mean_and_se([0.5])[0] == 0.5
    assert math.isnan(mean_and_se([0.5])[1])


def test_scores_outside_0_and_1_and_impossible_counts_are_refused() -> None:
    with pytest.raises(UserError):
        score([0.5, 1.5])
    with pytest.raises(UserError):
        wilson(3, 2)


def test_one_seed_has_the_questions_part_only_and_df_of_its_clusters() -> None:
    spread = crossed_variance([[0.0, 1.0, 1.0, 0.0, 1.0]], None)
    assert spread.parts == ((pytest.approx(spread.variance), 4.0),)
    assert not crossed_variance([[1.0, 0.0]], ["t", "t"]).known


@given(st.floats(0.01, 0.999), st.floats(1, 500))
def test_quantiles_are_scipys(level: float, df: float) -> None:
    assert quantile_t(df, level) == pytest.approx(stats.t.ppf(0.5 + level / 2, df), rel=1e-6, abs=1e-9)
    assert quantile_t(math.inf, level) == pytest.approx(stats.norm.ppf(0.5 + level / 2), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("df", [1.0, 5.0, math.inf])
def test_certainty_takes_an_interval_without_end(df: float) -> None:
    assert quantile_t(df, 1.0) == math.inf
    assert math.isfinite(quantile_t(df, 1 - 1e-12))
