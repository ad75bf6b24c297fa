"""A quantity that the data only bound: its interval covers the quantity wherever it lies between the bounds.

A response that was not graded is right or wrong, and nothing says which. So an accuracy is known up to a lower bound
(all of them wrong) and an upper one (all of them right), each with its own standard error.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import inf

import numpy as np
import numpy.typing as npt

from w2s_core.statistics.crossed import Clusters
from w2s_core.statistics.estimates import LEVEL, Bounds, Estimate, Spread
from w2s_core.statistics.recovery import recovery
from w2s_core.statistics.scores import score

AtLevel = Callable[[float], Estimate]
"""The estimate of one bound, with its usual two-sided interval at the level that is passed."""


def imbens_manski(lower: AtLevel, upper: AtLevel, level: float = LEVEL) -> Bounds:
    """The interval of a quantity between two estimated bounds, after Imbens and Manski (2004).

    It is [lower - c se(lower), upper + c se(upper)], where c solves

        Phi(c + (upper - lower) / max(se(lower), se(upper))) - Phi(-c) = level,

    so that the quantity is covered with this chance even where it equals one of the bounds: from 1.96 where they
    coincide, c falls to 1.645 where they lie far apart, since then only one end can be missed.

    Here each bound has an interval of its own kind (Wilson's, a bootstrap's; Student's quantiles, several variances).
    So c is said as the level of a two-sided interval, see `end_level`, at which both bounds are asked for their ends.

    The chance of the gap itself needs no term: the upper bound is never below the lower one in any sample (Stoye 2009,
    lemma 3).
    """
    lowest, highest = lower(level), upper(level)
    wider = max(lowest.spread, highest.spread, key=lambda spread: spread.se if spread.known else -1.0)
    at = end_level(highest.value - lowest.value, wider, level)
    return Bounds(lowest.value, highest.value, lower(at).low, upper(at).high)


def end_level(gap: float, spread: Spread, level: float = LEVEL) -> float:
    """The level of the two-sided interval whose reach is Imbens and Manski's c times the standard error.

    With t = (1 - that level) / 2 the chance to miss at the near end and u at the far one, t + u = 1 - level and
    reach(1 - 2 u) = reach(1 - 2 t) + gap. Unchanged where there is no gap, or no chance known that it could exceed.
    """
    if not gap > 0 or not spread.known or spread.variance == 0:
        return level
    miss = 1 - level
    low, high = miss / 2, miss  # of t, by bisection; 40 halvings keep u away from 0, whose reach is infinite
    for _ in range(40):
        near = (low + high) / 2
        between = spread.reach(1 - 2 * (miss - near)) - spread.reach(1 - 2 * near)
        low, high = (near, high) if between < gap else (low, near)
    return 1 - 2 * low


def bounded_score(
    worst: npt.ArrayLike, best: npt.ArrayLike, clusters: Clusters = None, level: float = LEVEL
) -> Bounds:
    """Mean of scores between two tables of one shape, [seeds, questions] or [questions]: no score of `best` is lower.

    Its ends are those of `score`. Without a gap they are the usual interval.
    """
    return imbens_manski(lambda at: score(worst, clusters, at), lambda at: score(best, clusters, at), level)


def bounded_recovery(
    worst: Sequence[npt.ArrayLike], best: Sequence[npt.ArrayLike], clusters: Clusters = None
) -> Bounds:
    """PGR between its bounds: floor, system and ceiling each lie between a worst and a best table of scores.

    Along each of the three the ratio rises or falls all the way, so its extremes lie where each is at an end. Without
    any bounds (infinite) where in one of these cases the gap is not resolved.
    """
    sides = ([a] if np.array_equal(a, b) else [a, b] for a, b in zip(worst, best, strict=True))
    cases = [*product(*sides)]
    values = [_ratio(case, clusters, LEVEL).value for case in cases]
    if not np.isfinite(values).all():
        return Bounds(-inf, inf, -inf, inf)
    ends = (cases[int(np.argmin(values))], cases[int(np.argmax(values))])
    lower, upper = (partial(_ratio, case, clusters) for case in ends)
    return imbens_manski(lower, upper)


def _ratio(case: Sequence[npt.ArrayLike], clusters: Clusters, level: float) -> Estimate:
    """Its value is nan where the gap is not resolved."""
    floor, system, ceiling = case
    return recovery(floor, system, ceiling, clusters, level=level).ratio
