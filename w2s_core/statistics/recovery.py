"""Performance gap recovered (Burns et al. 2312.09390): how much of the way from floor to ceiling a system goes."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isnan, nan

import numpy as np
import numpy.typing as npt

from w2s_core.errors import UserError
from w2s_core.statistics.crossed import (
    DRAWS,
    Clusters,
    Floats,
    cluster_index,
    crossed_bootstrap,
    crossed_variance,
)
from w2s_core.statistics.estimates import LEVEL, Estimate, nothing, quantile_t, wilson_bounds

CLEARANCE = 3.0
"""The gap must be this many standard errors wide. Nearer to 0, the ratio's interval says next to nothing."""

_HALVINGS = 36


@dataclass(frozen=True)
class Recovery:
    """PGR = (x - floor) / (ceiling - floor), if the gap is resolved.

    Attributes:
        ratio: the estimate; its value is nan where the gap is not resolved.
        gap: ceiling - floor.
        resolved: whether the gap's interval lies above 0, and the gap is wider than 3 standard errors and than the
            reach of its own t-test: only then is the ratio's interval bounded.
        reason: why it is not resolved, for people; empty if it is.
    """

    ratio: Estimate
    gap: Estimate
    resolved: bool
    reason: str


def recovery(
    floor: npt.ArrayLike,
    system: npt.ArrayLike,
    ceiling: npt.ArrayLike,
    clusters: Clusters = None,
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Recovery:
    """PGR with its interval: floor, system and ceiling vary jointly, over seeds and questions.

    The interval is Fieller's (1954): all ratios r that the t-test of "the mean of (system - floor) - r (ceiling -
    floor) is 0" does not reject, its variance split over seeds and clusters as in `crossed_variance`. A percentile
    bootstrap covers 88 % where the gap is four standard errors wide; this covers 93 to 97 % there too, and as a wide
    gap gives the same as the bootstrap (`tests/statistics/test_coverage.py`).

    Args:
        floor, system, ceiling: scores, shape [seeds, questions] or [questions]; the same seeds and questions in each.
        draws, seed: of the bootstrap behind the gap's interval.

    Raises:
        UserError: tables of different shapes.
    """
    parts = [np.atleast_2d(np.asarray(table, dtype=np.float64)) for table in (floor, system, ceiling)]
    shapes = [part.shape for part in parts]
    if len(set(shapes)) != 1:
        raise UserError(f"PGR of tables of shapes {shapes}: the same seeds and questions are needed")
    below, middle, above = parts
    labels = cluster_index(clusters, below.shape[1])
    gap = crossed_bootstrap(
        np.stack([below, above]), _minus, clusters=labels, level=level, draws=draws, seed=seed
    )
    reason = _unresolved(gap, level)
    if reason:
        return Recovery(nothing(gap.n, gap.seeds, gap.clusters, nan), gap, False, reason)
    return Recovery(_fieller(middle - below, above - below, labels, level), gap, True, "")


def _minus(means: Floats) -> Floats:
    return np.asarray(means[..., 1] - means[..., 0])


def _fieller(part: Floats, whole: Floats, labels: npt.NDArray[np.int64], level: float) -> Estimate:
    """The ratio of two means, shape [seeds, questions] each, where the whole's mean exceeds its reach."""
    upper, gap = float(part.mean()), float(whole.mean())
    value = upper / gap
    parts, wholes = (_by_cluster(table, labels) for table in (part, whole))

    def rest(ratio: float) -> Floats:
        left = parts - ratio * wholes
        return np.where(np.abs(left) < 1e-9, 0.0, left)  # rounding is no variation

    def rejected(ratio: float) -> bool:
        return abs(upper - ratio * gap) > crossed_variance(rest(ratio), None).reach(level)

    spread = crossed_variance(rest(value) / gap, None)
    if spread.variance == 0:  # the ratio is the same in every cluster: as far as 0 of so many may reach
        reach = wilson_bounds(0.0, parts.shape[1], quantile_t(inf, level))[1] / gap
        low, high = value - reach, value + reach
    else:
        reach = spread.reach(level)
        low, high = (_end(rejected, value, step) for step in (-reach, reach))
    return Estimate(value, low, high, spread, part.shape[1], len(part), parts.shape[1])


def _by_cluster(table: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Deviations from the mean, summed by cluster, shape [seeds, clusters]; scaled so that their variance is kept."""
    groups = int(labels.max()) + 1
    deviations = table - table.mean()
    sums = np.stack([np.bincount(labels, weights=row) for row in deviations])
    return sums * groups / table.shape[1]


def _end(rejected: Callable[[float], bool], inside: float, step: float) -> float:
    """Where rejection begins, from `inside` in the direction of `step`. What is not rejected is one interval.

    (A union of intervals that all hold the estimate: one for each of the quadratics whose largest is the reach.)
    """
    for _ in range(_HALVINGS):
        if rejected(inside + step):
            break
        inside, step = inside + step, 2 * step
    else:
        return inf if step > 0 else -inf
    outside = inside + step
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return outside


def _unresolved(gap: Estimate, level: float) -> str:
    if isnan(gap.value) or isnan(gap.low):
        return "gap not resolved: too few questions"
    measured = f"ceiling - floor = {100 * gap.value:.1f} [{100 * gap.low:.1f}, {100 * gap.high:.1f}]"
    if gap.low <= 0:
        return f"gap not resolved: {measured}, which does not exclude 0"
    if gap.value <= max(CLEARANCE * gap.se, gap.spread.reach(level)):
        return f"gap not resolved: {measured}, which comes near 0"
    return ""
