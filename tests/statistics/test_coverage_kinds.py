"""The benchmark of coverage in small: intervals hold the truth over seeds where runs have luck, one seed's do not."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage
from benchmarks.coverage import Kind, calibration_truth, covered, held, kinds, outside, simulate, truths, vote
from w2s_core.statistics import Bounds, Estimate, Spread, calibration_intervals
from w2s_core.statistics.calibration import MEASURES, calibration_atoms

MAIN = ("accuracy", "difference", "label precision, agreed", "gain in precision", "bounds: difference")


@pytest.mark.slow
def test_three_seeds_cover_the_truth_over_seeds_and_one_does_not() -> None:
    """5 points of luck a run. Of 30 intervals with 95 to 98 % each, fewer than 25 hold it in 1 of 200 cases."""
    known = {name: truth for name, truth in truths(5.0, 40).items() if name in MAIN}
    for seeds, low, high in ((3, 25, 30), (1, 0, 27)):
        counts = simulate(seeds, 5.0, 30, known)
        assert set(counts) == set(MAIN)
        for name, (first, second, tries) in counts.items():
            assert tries == 30
            assert low <= min(first, second) <= high, (seeds, name)


@pytest.mark.parametrize(("seeds", "off"), [(1, 0.0), (3, 0.0), (5, 0.02)])
def test_the_error_of_a_calibrated_vote_is_covered(seeds: int, off: float) -> None:
    """An interval around the estimate holds 0 in 1 to 30 of 100 cases: chance adds to the error, and again."""
    rng = np.random.default_rng(3)
    hits = dict.fromkeys(("ece", "reliability"), 0)
    for _ in range(40):
        confidence = rng.integers(1, 11, (seeds, 150)) / 10
        luck = rng.normal(0, 0.6, 150) + rng.normal(0, 0.8, (seeds, 150))
        right = (stats.norm.cdf(luck) < confidence - off).astype(float)
        intervals = calibration_intervals(hits, confidence, right)
        for name, power in (("ece", 1), ("reliability", 2)):
            assert intervals[name].low <= intervals[name].value <= intervals[name].high
            hits[name] += intervals[name].low <= off**power <= intervals[name].high
    assert min(hits.values()) >= 34, hits


def test_a_vote_far_from_calibration_keeps_its_lower_end_above_0() -> None:
    rng = np.random.default_rng(4)
    confidence = rng.integers(1, 11, (3, 300)) / 10
    right = (rng.random((3, 300)) < 0.5 * confidence).astype(float)
    for name, truth in (("ece", 0.275), ("reliability", 0.25 * 0.385)):
        interval = calibration_intervals([name], confidence, right)[name]
        assert 0.5 * truth < interval.low < truth < interval.high


def test_uncertainty_has_the_ends_of_its_accuracy() -> None:
    confidence, right = np.full(100, 0.5), np.repeat([0.0, 1.0], 50)
    both = calibration_intervals(["accuracy", "uncertainty"], confidence, right)
    ends = (both["accuracy"].low, both["accuracy"].high)
    assert both["uncertainty"].high == 0.25
    assert both["uncertainty"].low == pytest.approx(min(end * (1 - end) for end in ends))
    sure = calibration_intervals(["accuracy", "uncertainty"], confidence, np.repeat([0.0, 1.0], [20, 80]))
    assert sure["uncertainty"].high == pytest.approx(sure["accuracy"].low * (1 - sure["accuracy"].low))
    assert sure["uncertainty"].low == pytest.approx(sure["accuracy"].high * (1 - sure["accuracy"].high))


@pytest.mark.parametrize("name", list(MEASURES))
def test_truths_of_calibration_are_the_measures_of_a_large_sample(name: str) -> None:
    """The benchmark's own definitions, which do not share the measures' code."""
    rng = np.random.default_rng(5)
    confidence = rng.integers(2, 11, 20_000) / 10
    right = rng.random(20_000) < confidence**2
    atoms = calibration_atoms(confidence, right.astype(float))
    measured = float(MEASURES[name](atoms.values, atoms.counts))
    assert calibration_truth(name, 20_000, confidence, right) == pytest.approx(measured, abs=2e-4)


def test_the_benchmarks_vote_is_the_first_drawn_of_the_commonest() -> None:
    classes = np.array([[0, 1, 1, 0], [2, 2, 0, 1], [3, 0, 1, 2]], dtype=np.int8)
    share, right = vote(classes)
    assert share.tolist() == [0.5, 0.5, 0.25]
    assert right.tolist() == [True, False, False]


def test_coverage_is_counted_at_both_ends_and_what_lies_outside_is_named() -> None:
    estimate = Estimate(0.5, 0.4, 0.6, Spread(), 10, 1, 10)
    assert held(estimate, 0.55) == (1, 1, 1)
    assert held(Bounds(0.5, 0.6, 0.45, 0.65), (0.4, 0.6)) == (0, 1, 1)
    assert held(None, 0.5) == (0, 0, 0)
    assert covered(np.array([9, 7, 10])) == 0.7
    first, second, *_ = (kind.title for kind in kinds())
    cells = {
        (3, noise): {first: np.array([9, 9, 10]), second: np.array([95, 95, 100])} for noise in (0.0, 5.0)
    }
    [line] = outside(cells)
    assert line.startswith(f"  {first}, 3 seeds: 90.0 %")


def test_every_kind_is_named_once() -> None:
    titles = [kind.title for kind in kinds()]
    assert len(titles) == len(set(titles)) > 50
    assert all(isinstance(kind, Kind) for kind in kinds())
    assert coverage.SEEDS == (1, 3, 5)
