"""Is a vote's confidence calibrated, and does it tell right answers from wrong ones?

The confidence is the share of the majority among k samples (section 3.2), so it takes at most k values: its atoms.
All measures group by these atoms. Equal bins would put two atoms into one and none into the next, and the result
would depend on where a boundary falls.

`confidence` and `right` are arrays of one shape, [questions] or [seeds, questions]; `confidence` lies in [0, 1],
`right` is 0 or 1. Several seeds are pooled. Every measure is a function of how many right and wrong answers each atom
has, so a resample needs these counts only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf, isnan, nan
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from w2s_core.errors import UserError
from w2s_core.statistics.crossed import Clusters, CrossedTables, cluster_index, crossed_variance
from w2s_core.statistics.estimates import (
    LEVEL,
    Estimate,
    effective_size,
    nothing,
    quantile_t,
    wilson_bounds,
)

Floats = npt.NDArray[np.float64]
_DIGITS = 9
"""Confidences that agree to so many digits are one atom: 0.1 + 0.2 and 0.3 are."""
_HALVINGS = 12


@dataclass(frozen=True, eq=False)
class Atoms:
    """How many answers each value of the confidence has.

    Attributes:
        values: the confidences that occur, ascending, shape [atoms].
        counts: right answers, then wrong ones, shape [2, atoms].
    """

    values: Floats
    counts: Floats

    @property
    def n(self) -> Floats:
        """Answers of each atom."""
        return self.counts.sum(axis=0)


@dataclass(frozen=True)
class AtomAccuracy:
    """The accuracy of the answers of one confidence; `n` of them, over all seeds."""

    confidence: float
    n: int
    accuracy: Estimate


@dataclass(frozen=True)
class Brier:
    """Brier's score and its parts (Murphy 1973): score = reliability - resolution + uncertainty.

    Reliability is the squared distance of confidence and accuracy over the atoms (0 is best), resolution the variance
    of accuracy among the atoms (more is better), uncertainty that of the answers. Over atoms the sum is exact.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The share of wrong answers among the k most confident, for each k from 1 to n.

    Within an atom no answer stands before another: the risk is the expected one over their random order.

    Attributes:
        coverage, risk: k / n and the risk there, shape [n].
        aurc: the area under the curve, the mean of `risk` (Geifman et al., 1805.08206); nan without answers.
        excess: `aurc` less that of an oracle that puts all right answers first.
    """

    coverage: Floats
    risk: Floats
    aurc: float
    excess: float


@dataclass(frozen=True)
class ThresholdResult:
    """Selection by a threshold: the share of the answers that it keeps, and how many of these are right."""

    threshold: float
    coverage: float
    precision: Estimate


def calibration_atoms(confidence: npt.ArrayLike, right: npt.ArrayLike) -> Atoms:
    """Count right and wrong answers by confidence.

    Raises:
        UserError: arrays of different shapes, a confidence outside [0, 1], or a `right` that is neither 0 nor 1.
    """
    sure, hits = _checked(confidence, right)
    values, at = np.unique(sure.ravel(), return_inverse=True)
    right_counts = np.bincount(at, weights=hits.ravel())
    return Atoms(values, np.stack([right_counts, np.bincount(at) - right_counts]))


def atom_accuracy(
    confidence: npt.ArrayLike, right: npt.ArrayLike, clusters: Clusters = None
) -> list[AtomAccuracy]:
    """The accuracy of each atom, ascending, with Wilson's interval at the effective number of questions.

    Raises:
        UserError: as `calibration_atoms`, or labels of clusters that do not match.
    """
    sure, hits = _checked(confidence, right)
    accuracies = []
    for value in np.unique(sure).tolist():
        chosen = (sure == value).astype(np.float64)
        estimate = _share_of(hits * chosen, chosen, clusters)
        accuracies.append(AtomAccuracy(value, int(chosen.sum()), estimate))
    return accuracies


def expected_calibration_error(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Mean distance of confidence and accuracy over the atoms, weighted by their answers; nan without any.

    Few answers an atom make it too large even for a calibrated vote: it counts chance as distance.
    """
    return measure("ece", confidence, right)


def brier(confidence: npt.ArrayLike, right: npt.ArrayLike) -> Brier:
    """Brier's score, the mean of (confidence - right)^2, and its parts; nan without answers."""
    at = calibration_atoms(confidence, right)
    names = ("brier", "reliability", "resolution", "uncertainty")
    return Brier(*(float(MEASURES[name](at.values, at.counts)) for name in names))


def auroc(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float | None:
    """The chance that a right answer has the higher confidence of a right and a wrong one; a tie counts half.

    None where all are right, or all wrong.
    """
    value = measure("auroc", confidence, right)
    return None if isnan(value) else value


def risk_coverage(confidence: npt.ArrayLike, right: npt.ArrayLike) -> RiskCoverage:
    """Risk over coverage, and the area under it, see `RiskCoverage`."""
    at = calibration_atoms(confidence, right)
    sizes, wrong = at.n[::-1].astype(np.int64), at.counts[1, ::-1]
    total = int(sizes.sum())
    k = np.arange(1, total + 1)
    before = np.repeat(np.cumsum(sizes) - sizes, sizes)
    errors = np.repeat(np.cumsum(wrong) - wrong, sizes) + (k - before) * np.repeat(wrong / sizes, sizes)
    area, excess = (float(MEASURES[name](at.values, at.counts)) for name in ("aurc", "excess_aurc"))
    return RiskCoverage(k / max(1, total), errors / k, area, excess)


def measure(name: str, confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """One of `MEASURES`; nan where it is not defined (no answers; AUROC where all are right, or all wrong)."""
    at = calibration_atoms(confidence, right)
    return float(MEASURES[name](at.values, at.counts))


def calibration_intervals(
    names: Iterable[str], confidence: npt.ArrayLike, right: npt.ArrayLike, clusters: Clusters = None
) -> dict[str, Estimate]:
    """Some of `MEASURES` with their intervals, all on the same resamples of seeds and clusters of questions.

    No end lies below 0 or above 1, where the measure cannot lie. The lower ends of `UNSIGNED` are found by inversion,
    see `_inverted`; uncertainty has those of the accuracy that it is a function of.

    Args:
        clusters: a label a question; those that share one are resampled together.
    """
    sure, hits = _table(confidence, right)
    values = np.unique(sure)
    tables = CrossedTables(_indicators(sure, hits, values), clusters)
    return {name: _interval(name, values, tables, sure.size) for name in names}


def _interval(name: str, values: Floats, tables: CrossedTables, n: int) -> Estimate:
    estimate = tables.estimate(_statistic(name, values, n))
    if name in SIGNED or isnan(estimate.low):
        return estimate
    low, high = estimate.low, estimate.high
    if name in UNSIGNED:
        low = _inverted(name, values, tables, estimate.value)
    if name == "uncertainty":
        accuracy = _interval("accuracy", values, tables, n)
        ends = [share * (1 - share) for share in (accuracy.low, accuracy.high)]
        low, high = min(ends), 0.25 if accuracy.low <= 0.5 <= accuracy.high else max(ends)
    return replace(estimate, low=max(0.0, low), high=min(1.0, high))


def _inverted(name: str, values: Floats, tables: CrossedTables, measured: float) -> float:
    """The lowest true value of a distance from calibration at which the measured one is no surprise.

    Chance adds to such a distance, the more the nearer the truth is to 0: what is measured lies above the truth, and
    resamples, which add chance once more, lie higher still. So the answers are moved towards calibration, all atoms by
    one share of their distance, until chance there reaches what was measured in 2.5 % of cases only. The size of
    chance is that of mean confidence - accuracy, which has no such bias (`benchmarks/coverage.txt`).
    """
    shape = (-1, 2, len(values))
    signed = tables.estimate(_statistic("overconfidence", values, 1)).spread
    drawn = float(MEASURES["overconfidence"](values, tables.resampled.reshape(shape)).std())
    if not signed.variance > 0 or not drawn > 0:
        return 0.0
    counts = tables.means.reshape(shape)[0]
    chance = (tables.resampled.reshape(shape) - counts) * signed.se / drawn
    stretch = signed.reach() / (signed.se * quantile_t(inf))
    gap = counts[0] - values * counts.sum(axis=0)

    def moved(kept: float) -> Floats:
        return counts + (1 - kept) * np.stack([-gap, gap])

    def surprises(kept: float) -> bool:
        middle, end = np.quantile(MEASURES[name](values, moved(kept) + chance), [0.5, 0.5 + LEVEL / 2])
        return bool(middle + stretch * (end - middle) < measured)

    low, high = 0.0, 1.0  # of the share of its distance that each atom keeps, by bisection
    if not surprises(low):
        return 0.0
    for _ in range(_HALVINGS):
        kept = (low + high) / 2
        low, high = (kept, high) if surprises(kept) else (low, kept)
    return float(MEASURES[name](values, moved(high)))


def calibration_changes(
    names: Iterable[str],
    before: tuple[npt.ArrayLike, npt.ArrayLike],
    after: tuple[npt.ArrayLike, npt.ArrayLike],
    clusters: Clusters = None,
) -> dict[str, Estimate]:
    """How much some of `MEASURES` grow from one system to another on the same seeds and questions: after - before.

    Args:
        before, after: (confidence, right) of each, all of one shape.

    Raises:
        UserError: as `calibration_atoms`, or systems of different shapes.
    """
    systems = [_table(*before), _table(*after)]
    if systems[0][0].shape != systems[1][0].shape:
        raise UserError(f"{systems[0][0].shape} answers before, {systems[1][0].shape} after: not the same")
    values = np.unique(np.concatenate([sure.ravel() for sure, _ in systems]))
    half = 2 * len(values)
    tables = CrossedTables(np.concatenate([_indicators(*system, values) for system in systems]), clusters)

    def change(name: str) -> Estimate:
        statistic = _statistic(name, values, systems[0][0].size)
        return tables.estimate(lambda means: statistic(means[..., half:]) - statistic(means[..., :half]))

    return {name: change(name) for name in names}


def choose_threshold(
    confidence: npt.ArrayLike, right: npt.ArrayLike, precision: float, clusters: Clusters = None
) -> ThresholdResult | None:
    """The confidence from which answers are kept: the largest coverage whose lower end of precision reaches a target.

    Coverage is what training data is short of, and the interval's lower end keeps a few lucky answers at the top from
    passing. Choose on dev: the precision that is given here was maximised over the atoms; `keep_above` on test is not.

    Returns None where no threshold reaches the target.

    Raises:
        UserError: a target outside [0, 1], or as `calibration_atoms`.
    """
    if not 0 <= precision <= 1:
        raise UserError(f"a precision to reach must lie in [0, 1], not {precision}")
    sure, _ = _checked(confidence, right)
    results = (keep_above(confidence, right, value, clusters) for value in np.unique(sure).tolist())
    return next((result for result in results if result.precision.low >= precision), None)


def keep_above(
    confidence: npt.ArrayLike, right: npt.ArrayLike, threshold: float, clusters: Clusters = None
) -> ThresholdResult:
    """Coverage and precision of the answers whose confidence is at least a threshold."""
    sure, hits = _checked(confidence, right)
    chosen = (sure >= np.round(threshold, _DIGITS)).astype(np.float64)
    coverage = float(chosen.mean()) if chosen.size else nan
    return ThresholdResult(threshold, coverage, _share_of(hits * chosen, chosen, clusters))


# The measures, each from counts of shape [..., 2, atoms] (right, wrong), which need not be whole: a resample's are not.


def _error(values: Floats, counts: Floats) -> Floats:
    n = counts.sum(axis=-2)
    return _over(np.abs(counts[..., 0, :] - values * n).sum(axis=-1), n.sum(axis=-1))


def _overconfidence(values: Floats, counts: Floats) -> Floats:
    n = counts.sum(axis=-2)
    return _over((values * n - counts[..., 0, :]).sum(axis=-1), n.sum(axis=-1))


def _accuracy(values: Floats, counts: Floats) -> Floats:
    del values
    return _over(counts[..., 0, :].sum(axis=-1), counts.sum(axis=(-2, -1)))


def _brier(values: Floats, counts: Floats) -> Floats:
    losses = np.stack([(1 - values) ** 2, values**2])
    return _over((counts * losses).sum(axis=(-2, -1)), counts.sum(axis=(-2, -1)))


def _reliability(values: Floats, counts: Floats) -> Floats:
    n = counts.sum(axis=-2)
    squares = _over((counts[..., 0, :] - values * n) ** 2, n, 0.0)
    return _over(squares.sum(axis=-1), n.sum(axis=-1))


def _resolution(values: Floats, counts: Floats) -> Floats:
    n = counts.sum(axis=-2)
    mean = _accuracy(values, counts)[..., None]
    squares = _over((counts[..., 0, :] - mean * n) ** 2, n, 0.0)
    return _over(squares.sum(axis=-1), n.sum(axis=-1))


def _uncertainty(values: Floats, counts: Floats) -> Floats:
    mean = _accuracy(values, counts)
    return mean * (1 - mean)


def _auroc(values: Floats, counts: Floats) -> Floats:
    del values
    right, wrong = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(wrong, axis=-1) - wrong / 2
    return _over((right * below).sum(axis=-1), right.sum(axis=-1) * wrong.sum(axis=-1))


def _aurc(values: Floats, counts: Floats) -> Floats:
    """The sum over an atom of (E + j q) / (N + j), j = 1 ... n, in closed form by harmonic numbers.

    N answers and E wrong ones stand before the atom, q is its share of wrong ones.
    """
    del values
    wrong, sizes = counts[..., 1, ::-1], counts.sum(axis=-2)[..., ::-1]
    ends = np.cumsum(sizes, axis=-1)
    starts, errors = ends - sizes, np.cumsum(wrong, axis=-1) - wrong
    rest = errors - _over(wrong, sizes, 0.0) * starts
    return _over((wrong + rest * _harmonic(starts, ends)).sum(axis=-1), sizes.sum(axis=-1))


def _excess_aurc(values: Floats, counts: Floats) -> Floats:
    oracle = np.zeros((*counts.shape[:-1], 2))
    oracle[..., 1, 0], oracle[..., 0, 1] = counts[..., 1, :].sum(axis=-1), counts[..., 0, :].sum(axis=-1)
    return _aurc(values, counts) - _aurc(np.array([0.0, 1.0]), oracle)


MEASURES: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "overconfidence": _overconfidence,
        "ece": _error,
        "brier": _brier,
        "reliability": _reliability,
        "resolution": _resolution,
        "uncertainty": _uncertainty,
        "auroc": _auroc,
        "aurc": _aurc,
        "excess_aurc": _excess_aurc,
    }
)
"""By name. `overconfidence` is mean confidence - accuracy; the others are defined above."""

UNSIGNED: Final = frozenset({"ece", "reliability"})
"""Distances of confidence and accuracy without their sign: 0 for a calibrated vote, and above it by chance."""

SIGNED: Final = frozenset({"overconfidence"})
"""Measures that can be negative; all others lie in [0, 1]."""


def _statistic(name: str, values: Floats, n: int) -> Callable[[Floats], Floats]:
    """A measure as a function of the means of `_indicators`; AURC hangs on their number, not on shares alone."""
    if name not in MEASURES:
        raise UserError(f"unknown measure '{name}'; known: {', '.join(MEASURES)}")
    return lambda means: MEASURES[name](values, n * means.reshape(*means.shape[:-1], 2, len(values)))


def _indicators(sure: Floats, hits: Floats, values: Floats) -> Floats:
    """Whether each answer is a right one, or a wrong one, of each atom: shape [2 x atoms, seeds, questions]."""
    of_atom = sure[None] == values[:, None, None]
    return np.concatenate([of_atom * hits, of_atom * (1 - hits)])


def _share_of(part: Floats, total: Floats, clusters: Clusters) -> Estimate:
    """A share `part / total` of 0/1 tables, part <= total: Wilson's interval at the effective number of answers.

    Its variance is that of the linearised ratio over seeds and clusters.
    """
    part, total = np.atleast_2d(part), np.atleast_2d(total)
    seeds, n = total.shape
    labels = cluster_index(clusters, n)
    size, answers = (n, seeds, int(labels.max(initial=-1)) + 1), float(total.sum())
    if answers == 0:
        return nothing(*size)
    share = float(part.sum()) / answers
    spread = crossed_variance((part - share * total) / (answers / total.size), labels)
    if spread.known and spread.variance > 0:
        bounds = wilson_bounds(share, effective_size(share, spread.variance), spread.reach() / spread.se)
    else:  # all alike: as many independent answers as there are clusters that have one
        groups = len(np.unique(labels[total.any(axis=0)]))
        bounds = wilson_bounds(share, groups, quantile_t(inf))
    return Estimate(share, *bounds, spread, *size)


def _checked(confidence: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, Floats]:
    sure, hits = (np.asarray(values, dtype=np.float64) for values in (confidence, right))
    if sure.shape != hits.shape or sure.ndim not in (1, 2):
        raise UserError(
            f"confidence of shape {sure.shape}, right of shape {hits.shape}: one shape is needed, "
            "[questions] or [seeds, questions]"
        )
    if not ((sure >= 0) & (sure <= 1)).all():
        raise UserError("a confidence outside [0, 1]")
    if not np.isin(hits, (0.0, 1.0)).all():
        raise UserError("`right` must be 0 or 1 for every answer")
    return np.round(sure, _DIGITS), hits


def _table(confidence: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both of shape [seeds, questions]."""
    sure, hits = _checked(confidence, right)
    return np.atleast_2d(sure), np.atleast_2d(hits)


def _over(part: Floats, total: Floats, empty: float = nan) -> Floats:
    """Part / total, `empty` where total is 0."""
    return np.divide(part, total, out=np.full(part.shape, empty), where=total > 0)


def _harmonic(start: Floats, end: Floats) -> Floats:
    """1 / (start + 1) + ... + 1 / end, for numbers that need not be whole too."""
    from scipy.special import digamma

    return np.asarray(digamma(end + 1) - digamma(start + 1), dtype=np.float64)
