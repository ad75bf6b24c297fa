"""Intervals of a quantity between two bounds: Imbens and Manski's equation solved directly, its limits, coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from w2s_core.statistics import (
    Bounds,
    Estimate,
    Spread,
    bounded_score,
    crossed_bootstrap,
    end_level,
    imbens_manski,
    quantile_t,
    score,
)


def normal(value: float, se: float, level: float = 0.95) -> Estimate:
    """An estimate with its normal interval."""
    reach = float(stats.norm.ppf(0.5 + level / 2)) * se
    return Estimate(value, value - reach, value + reach, Spread(((se * se, math.inf),)), 100, 1, 100)


def solved(gap: float, se: float, level: float, df: float = math.inf) -> float:
    """C of the paper's equation, as it stands there; with Student's distribution in place of the normal one."""
    return float(
        brentq(lambda c: stats.t.cdf(c + gap / se, df) - stats.t.cdf(-c, df) - level, 0, 10, xtol=1e-13)
    )


@given(st.floats(0, 0.5), st.floats(1e-3, 0.2), st.floats(1e-3, 0.2), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_ends_are_those_of_the_papers_equation(
    gap: float, se_lower: float, se_upper: float, level: float
) -> None:
    bounds = imbens_manski(
        lambda at: normal(0.4, se_lower, at), lambda at: normal(0.4 + gap, se_upper, at), level
    )
    c = solved(gap, max(se_lower, se_upper), level)
    assert bounds.low == pytest.approx(0.4 - c * se_lower, abs=1e-9)
    assert bounds.high == pytest.approx(0.4 + gap + c * se_upper, abs=1e-9)


@pytest.mark.parametrize("df", [2, 4, 59])
@pytest.mark.parametrize("gap", [0.001, 0.01, 0.05, 0.3])
def test_with_few_degrees_of_freedom_the_quantiles_are_students(gap: float, df: int) -> None:
    at = end_level(gap, Spread(((0.02**2, float(df)),)))
    assert quantile_t(df, at) == pytest.approx(solved(gap, 0.02, 0.95, df), abs=1e-8)


def test_a_wide_gap_is_one_sided_and_none_is_two_sided() -> None:
    spread = Spread(((0.01**2, math.inf),))
    assert quantile_t(math.inf, end_level(0.5, spread)) == pytest.approx(1.6448536, abs=1e-6)
    assert end_level(0.0, spread) == 0.95
    assert quantile_t(math.inf, end_level(1e-9, spread)) == pytest.approx(1.9599640, abs=1e-6)


def test_without_any_chance_to_exceed_the_level_stays() -> None:
    for spread in (Spread(((0.0, 9.0),)), Spread()):
        assert end_level(0.1, spread) == 0.95
        assert end_level(0.1, spread, 0.8) == 0.8
    assert end_level(math.nan, Spread(((0.01**2, 9.0),))) == 0.95


def test_where_one_bound_shows_no_chance_the_other_decides() -> None:
    unknown, c = Estimate(0.4, math.nan, math.nan, Spread(), 1, 1, 1), solved(0.1, 0.05, 0.95)
    for bounds in (
        imbens_manski(lambda at: unknown, lambda at: normal(0.5, 0.05, at)),
        imbens_manski(lambda at: normal(0.4, 0.05, at), lambda at: replace(unknown, value=0.5)),
    ):
        ends = [end for end in (0.4 - bounds.low, bounds.high - 0.5) if not math.isnan(end)]
        assert ends == pytest.approx([c * 0.05])


def test_no_gap_is_the_usual_interval_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    table, clusters = rng.integers(0, 2, (3, 40)).astype(float), (np.arange(40) // 2).tolist()
    usual, bounds = score(table, clusters), bounded_score(table, table, clusters)
    assert bounds == Bounds(usual.value, usual.value, usual.low, usual.high)


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_the_interval_lies_between_the_bounds_own_and_holds_both(seeds: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    worst = rng.integers(0, 2, (seeds, n)).astype(float)
    best = np.maximum(worst, rng.random((seeds, n)) < 0.2)
    lower, upper, bounds = score(worst), score(best), bounded_score(worst, best)
    assert (bounds.lower, bounds.upper) == (lower.value, upper.value)
    assert bounds.gap == pytest.approx(np.mean(best - worst))
    assert lower.low - 1e-12 <= bounds.low <= bounds.lower + 1e-12
    assert bounds.upper - 1e-12 <= bounds.high <= upper.high + 1e-12


def test_a_difference_has_the_ends_of_its_bootstrap() -> None:
    """Both arms of the bootstrap's interval at the level whose normal quantile is c, or nearly: Student's has 199."""
    rng = np.random.default_rng(1)
    worst = rng.integers(0, 2, 200).astype(float)
    best = np.maximum(worst, rng.random(200) < 0.3)

    def bound(scores: "np.typing.NDArray[np.float64]", level: float) -> Estimate:
        return crossed_bootstrap(scores[None, None], lambda m: m[..., 0], level=level)

    bounds = imbens_manski(lambda at: bound(worst, at), lambda at: bound(best, at))
    assert bounds.low == pytest.approx(bound(worst, 0.9).low, abs=1e-6)
    assert bounds.high == pytest.approx(bound(best, 0.9).high, abs=1e-6)


def test_what_no_sample_shows_any_chance_in_keeps_the_usual_level() -> None:
    nothing_graded = bounded_score(np.zeros(20), np.ones(20))
    assert (nothing_graded.lower, nothing_graded.upper) == (0, 1)
    assert (nothing_graded.low, nothing_graded.high) == (0, 1)
    single = bounded_score([0.0], [1.0])
    assert (single.lower, single.upper, single.low, single.high) == (0, 1, 0, 1)
    empty = bounded_score([], [])
    assert math.isnan(empty.lower)
    assert math.isnan(empty.high)


@pytest.mark.slow
@pytest.mark.parametrize("ungraded", [0.0, 0.005, 0.02, 0.1])
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_the_interval_covers_the_truth_wherever_it_lies_between_the_bounds(
    seeds: int, ungraded: float
) -> None:
    """Questions in templates, seeds of their own luck. The truth at either bound is the hardest to cover."""
    rng, worlds, n = np.random.default_rng(7), 1500, 300
    clusters = np.arange(n, dtype=np.int64) // 5
    covered = np.zeros(2)
    of_template, of_seed = 0.7, 0.0 if seeds == 1 else 0.1
    spread = math.sqrt(1 + of_template**2 + of_seed**2)
    for _ in range(worlds):
        luck = rng.normal(0, of_template, n // 5)[clusters] + rng.normal(0, of_seed, (seeds, 1))
        right = 0.8 + luck + rng.normal(0, 1, (seeds, n)) > 0
        silent = rng.random((seeds, n)) < ungraded
        bounds = bounded_score((right & ~silent).astype(float), (right | silent).astype(float), clusters)
        graded_right = (1 - ungraded) * stats.norm.cdf(0.8 / spread)
        covered += [bounds.low <= truth <= bounds.high for truth in (graded_right, graded_right + ungraded)]
    allowance = 2.6 * math.sqrt(0.95 * 0.05 / worlds)
    # Three seeds know their part by two degrees of freedom and cover more than they say, see `Spread`.
    assert (covered / worlds >= 0.94 - allowance).all(), covered / worlds
    assert (covered / worlds <= (0.97 if seeds == 1 else 0.99) + allowance).all(), covered / worlds
