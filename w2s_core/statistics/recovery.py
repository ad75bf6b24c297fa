"""Performance gap recovered (Burns et al. 2312.09390): how much of the way from floor to ceiling a system goes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import numpy.typing as npt

from w2s_core.errors import UserError
from w2s_core.statistics.crossed import DRAWS, Floats, crossed_bootstrap
from w2s_core.statistics.estimates import LEVEL, Estimate, nothing

CLEARANCE = 3.0
"""The gap must be this many standard errors wide. Nearer to 0, the ratio's interval means nothing (Fieller 1954)."""


@dataclass(frozen=True)
class Recovery:
    """PGR = (x - floor) / (ceiling - floor), if the gap is resolved.

    Attributes:
        ratio: the estimate; its value is nan where the gap is not resolved.
        gap: ceiling - floor.
        resolved: whether the gap's interval lies above 0 and the gap is at least 3 standard errors wide.
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
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Recovery:
    """PGR with its interval: floor, system and ceiling are resampled jointly, over seeds and questions.

    Args:
        floor, system, ceiling: scores, shape [seeds, questions] or [questions]; the same seeds and questions in each.

    Raises:
        UserError: tables of different shapes.
    """
    parts = [np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (floor, system, ceiling)]
    if len({one.shape for one in parts}) != 1:
        shapes = [one.shape for one in parts]
        raise UserError(f"PGR of tables of shapes {shapes}: the same seeds and questions are needed")
    tables = np.stack(parts)
    options = {"clusters": clusters, "level": level, "draws": draws, "seed": seed}
    gap = crossed_bootstrap(tables, lambda m: m[..., 2] - m[..., 0], **options)  # type: ignore[arg-type]
    reason = _unresolved(gap)
    if reason:
        return Recovery(nothing(gap.n, gap.seeds, gap.clusters, nan), gap, False, reason)
    return Recovery(crossed_bootstrap(tables, _ratio, **options), gap, True, "")  # type: ignore[arg-type]


def _ratio(means: Floats) -> Floats:
    gap = means[..., 2] - means[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((means[..., 1] - means[..., 0]) / gap)


def _unresolved(gap: Estimate) -> str:
    if isnan(gap.value) or isnan(gap.low):
        return "gap not resolved: too few questions"
    shown = f"ceiling - floor = {100 * gap.value:.1f} [{100 * gap.low:.1f}, {100 * gap.high:.1f}]"
    if gap.low <= 0:
        return f"gap not resolved: {shown}, which does not exclude 0"
    if gap.value < CLEARANCE * gap.se:
        return f"gap not resolved: {shown}, which comes near 0"
    return ""
