"""The statistics of this room: shares of a kept set, rank correlation; against slow and second implementations."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from w2s_analysis.reading.labels import ratio_estimate
from w2s_analysis.weak_to_strong.weak_choice import spearman
from w2s_core.statistics import score

shapes = st.tuples(st.integers(1, 4), st.integers(2, 30), st.integers(0, 10**6))


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_a_share_is_the_plain_ratio_and_keeps_inside_its_range(shape: tuple[int, int, int]) -> None:
    seeds, questions, seed = shape
    rng = np.random.default_rng(seed)
    whole = (rng.random((seeds, questions)) < 0.6).astype(float)
    part = whole * (rng.random((seeds, questions)) < rng.random())
    estimate = ratio_estimate(part, whole, [i // 2 for i in range(questions)])
    if not whole.any():
        assert np.isnan(estimate.value)
        return
    assert estimate.value == pytest.approx(part.sum() / whole.sum())
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@given(shapes)
@example((3, 3, 727))  # rows and columns of equal sums
@settings(max_examples=30, deadline=None)
def test_a_share_of_everything_is_a_score(shape: tuple[int, int, int]) -> None:
    seeds, questions, seed = shape
    part = (np.random.default_rng(seed).random((seeds, questions)) < 0.7).astype(float)
    ratio, reference = ratio_estimate(part, np.ones_like(part)), score(part)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx(
        (reference.value, reference.low, reference.high)
    )


def test_the_linearised_error_is_that_of_the_jackknife() -> None:
    """One seed: the delete-one-cluster jackknife of the ratio, an independent way to its standard error."""
    rng = np.random.default_rng(3)
    whole = (rng.random((1, 400)) < 0.5).astype(float)
    part = whole * (rng.random((1, 400)) < 0.8)
    clusters = np.repeat(np.arange(100), 4)
    left = np.array([part[0, clusters != g].sum() / whole[0, clusters != g].sum() for g in range(100)])
    jackknife = np.sqrt(99 / 100 * ((left - left.mean()) ** 2).sum())
    assert ratio_estimate(part, whole, clusters.tolist()).se == pytest.approx(jackknife, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_a_share_cover_the_truth(seeds: int) -> None:
    """Runs of known truth: questions differ in difficulty and in how likely they are kept, seeds in their level."""
    rng, hits, draws = np.random.default_rng(11), 0, 1500
    truth = _truth(seeds)
    for _ in range(draws):
        part, whole = _simulated(rng, seeds, 300)
        estimate = ratio_estimate(part, whole, [i // 2 for i in range(300)])
        hits += estimate.low <= truth <= estimate.high
    assert 0.93 <= hits / draws <= 0.985


def _simulated(
    rng: np.random.Generator, seeds: int, questions: int
) -> tuple[np.ndarray[tuple[int, int]], np.ndarray[tuple[int, int]]]:
    ease = np.repeat(rng.normal(size=questions // 2), 2)
    level = rng.normal(scale=0.2 * (seeds > 1), size=(seeds, 1))
    kept = rng.random((seeds, questions)) < 1 / (1 + np.exp(-ease))
    right = rng.random((seeds, questions)) < 1 / (1 + np.exp(-(1 + ease + level)))
    return (kept * right).astype(float), kept.astype(float)


def _truth(seeds: int) -> float:
    rng = np.random.default_rng(0)
    parts = [_simulated(rng, 200 if seeds > 1 else 1, 20_000) for _ in range(4 if seeds > 1 else 100)]
    return float(sum(part.sum() for part, _ in parts) / sum(whole.sum() for _, whole in parts))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=3, max_size=5))
@settings(deadline=None, max_examples=40)
def test_rank_correlation_is_scipys_and_p_counts_all_rankings(pairs: list[tuple[int, int]]) -> None:
    x, y = ([float(entry[i]) for entry in pairs] for i in (0, 1))
    rho, p = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(rho)
        assert np.isnan(p)
        return
    assert rho == pytest.approx(spearmanr(x, y).statistic)
    others = [abs(spearmanr(x, other).statistic) for other in permutations(y)]
    assert p == pytest.approx(np.mean([entry >= abs(rho) - 1e-9 for entry in others]))


def test_many_pairs_draw_their_rankings_the_same_each_time() -> None:
    x = [float(i) for i in range(12)]
    y = [value + (-1) ** i for i, value in enumerate(x)]
    rho, p = spearman(x, y)
    assert (rho, p) == spearman(x, y)
    assert p < 0.001
    assert rho == pytest.approx(spearmanr(x, y).statistic)
