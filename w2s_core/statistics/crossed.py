"""Seeds and questions are crossed: every seed answers the same questions, so both are sources of chance.

`crossed_variance` splits the variance of a mean by the two-way analysis of variance (questions grouped in clusters).
`crossed_bootstrap` resamples both for any function of means: differences, ratios, precision of a subset.
"""

from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from w2s_core.errors import UserError
from w2s_core.statistics.estimates import (
    LEVEL,
    Estimate,
    Spread,
    nothing,
    quantile_t,
    wilson_bounds,
)

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Any]
"""From means, shape [..., tables], to the quantity, shape [...]."""

DRAWS = 2000
_STEP = 1e-5


def crossed_bootstrap(
    tables: npt.ArrayLike,
    statistic: Statistic,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """A function of means with its interval, resampling seeds and clusters of questions jointly for all tables.

    Args:
        tables: shape [tables, seeds, questions]; one table a system, the same seeds and questions in each.
        statistic: from the tables' means to the quantity, for example `lambda m: m[..., 1] - m[..., 0]`.
        clusters: a label a question; those that share one are resampled together. None: each is on its own.
        draws: resamples.
        seed: of the resampling.

    The percentile interval of a bootstrap over three seeds is far too short (its draws repeat the same three values).
    So each of its arms is stretched by one factor: that which takes the normal interval of its draws to the reach of
    the two-way analysis of variance (`Spread.reach`). The shape stays the bootstrap's. With a single seed only
    questions are resampled, and the interval says nothing about other seeds.

    Raises:
        UserError: tables of another shape, or labels that do not match the questions.
    """
    values = _as_tables(tables)
    labels = cluster_index(clusters, values.shape[2])
    groups = int(labels.max(initial=-1)) + 1
    size = {"n": values.shape[2], "seeds": values.shape[1], "clusters": groups}
    if 0 in values.shape:
        return nothing(**size)
    value = float(statistic(values.mean(axis=(1, 2))))
    spread = crossed_variance(_influence(values, statistic), labels)
    if not spread.known or not np.isfinite(value):
        return nothing(value=value, **size)
    if spread.variance == 0:
        low, high = _no_variation(value, groups, level)
    else:
        low, high = _stretched(value, _resample(values, labels, statistic, draws, seed), spread, level)
    return Estimate(value, low, high, spread, **size)


def crossed_variance(values: npt.ArrayLike, clusters: Sequence[Hashable] | npt.ArrayLike | None) -> Spread:
    """Variance of the mean of a table [seeds, questions], in its parts: of seeds, and of questions beyond that.

    Both seeds and clusters of questions count as drawn at random. The part of seeds is the variance of the seeds'
    means; it holds the residual (how a question fares in one seed) already. So the part of clusters is their
    cluster-robust variance less the residual of the two-way analysis of variance, never below 0. One seed has the
    clusters' part only, whole. One cluster: not known.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    labels = cluster_index(clusters, table.shape[1])
    seeds, groups = table.shape[0], int(labels.max(initial=-1)) + 1
    if groups < 2 or seeds < 1:
        return Spread()
    totals = _group_sums(table - table.mean(), labels, groups) / table.size
    by_group = totals.sum(axis=0)
    among_groups = float((by_group**2).sum()) * groups / (groups - 1)
    if seeds == 1:
        return Spread(((among_groups, float(groups - 1)),))
    by_seed = totals.sum(axis=1)
    rest = totals - by_group / seeds - by_seed[:, None] / groups
    among_seeds = float((by_seed**2).sum()) * seeds / (seeds - 1)
    residual = float((rest**2).sum()) * seeds * groups / ((seeds - 1) * (groups - 1))
    beyond = max(0.0, among_groups - residual)
    return Spread(((among_seeds, float(seeds - 1)), (beyond, float(groups - 1))))


def cluster_index(clusters: Sequence[Hashable] | npt.ArrayLike | None, n: int) -> npt.NDArray[np.int64]:
    """Number the clusters 0, 1, ... in order of first appearance; None gives each question its own."""
    if clusters is None:
        return np.arange(n)
    listed = (
        list(np.asarray(clusters, dtype=object))
        if not isinstance(clusters, np.ndarray)
        else clusters.tolist()
    )
    if len(listed) != n:
        raise UserError(f"{len(listed)} cluster labels for {n} questions")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in listed], dtype=np.int64)


def _as_tables(tables: npt.ArrayLike) -> Floats:
    values = np.asarray(tables, dtype=np.float64)
    if values.ndim != 3:
        raise UserError(f"scores of shape {values.shape}: [tables, seeds, questions] is needed")
    return values


def _group_sums(table: Floats, labels: npt.NDArray[np.int64], groups: int) -> Floats:
    """Sums over clusters: [..., questions] -> [..., clusters]."""
    if groups == table.shape[-1]:
        return table
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(groups))
    return np.add.reduceat(table[..., order], starts, axis=-1)


def _influence(values: Floats, statistic: Statistic) -> Floats:
    """How much each score moves the statistic (first order), shape [seeds, questions]: gradient times deviation."""
    means = values.mean(axis=(1, 2))
    steps = np.eye(len(means)) * _STEP
    gradient = (statistic(means + steps) - statistic(means - steps)) / (2 * _STEP)
    found: Floats = np.tensordot(gradient, values - means[:, None, None], axes=1)
    return np.where(np.abs(found) < 1e-9, 0.0, found)


def _resample(
    values: Floats, labels: npt.NDArray[np.int64], statistic: Statistic, draws: int, seed: int
) -> Floats:
    """The statistic on `draws` resamples of seeds and clusters. A resample's mean weighs questions, not clusters."""
    rng = np.random.default_rng(seed)
    seeds, groups = values.shape[1], int(labels.max()) + 1
    sizes = _group_sums(np.ones((1, values.shape[2])), labels, groups)[0]
    totals = _group_sums(values, labels, groups)
    group_weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    per_seed = totals.reshape(-1, groups) @ group_weights.T  # [tables x seeds, draws]
    per_seed = per_seed.reshape(len(values), seeds, draws) / (group_weights @ sizes)
    means = np.einsum("tsd,ds->dt", per_seed, seed_weights)
    return np.asarray(statistic(means), dtype=np.float64)


def _stretched(value: float, resampled: Floats, spread: Spread, level: float) -> tuple[float, float]:
    known = resampled[np.isfinite(resampled)]
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2])
    usual = float(known.std()) * quantile_t(inf, level)
    factor = spread.reach(level) / usual if usual > 0 else 1.0
    return value - factor * max(0.0, value - float(low)), value + factor * max(0.0, float(high) - value)


def _no_variation(value: float, groups: int, level: float) -> tuple[float, float]:
    """Where no question shows any difference: as far as Wilson's interval reaches for 0 of so many clusters."""
    reach = wilson_bounds(0.0, groups, quantile_t(inf, level))[1]
    return value - reach, value + reach
