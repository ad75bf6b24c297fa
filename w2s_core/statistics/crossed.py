"""Seeds and questions are crossed: every seed answers the same questions, so both are sources of chance.

`crossed_variance` splits the variance of a mean by the two-way analysis of variance (questions grouped in clusters).
`crossed_bootstrap` resamples both for any function of means: differences, ratios, precision of a subset.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, lru_cache
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
Clusters = Sequence[Hashable] | npt.NDArray[np.int64] | None
"""A label a question; an array of integers numbers them 0, 1, ... already. None: each is on its own."""

DRAWS = 2000
_STEP = 1e-5
_ROUNDING = 1e-12
"""Numbers that differ by this part are equal but for rounding: a table of equal rows and columns does not vary."""


def crossed_bootstrap(
    tables: npt.ArrayLike,
    statistic: Statistic,
    *,
    clusters: Clusters = None,
    strata: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """A function of means with its interval, resampling seeds and clusters of questions jointly for all tables.

    Args:
        tables: shape [tables, seeds, questions]; one table a system, the same seeds and questions in each.
        statistic: from the tables' means to the quantity, for example `lambda m: m[..., 1] - m[..., 0]`.
        clusters: a label a question; those that share one are resampled together. None: each is on its own.
        strata: a label a seed, for runs of several kinds that are no random draw (weak models): seeds are resampled
            within each. Every stratum has the same number of seeds. None: one stratum.
        draws: resamples.
        seed: of the resampling.

    The percentile interval of a bootstrap over three seeds is far too short (its draws repeat the same three values).
    So each of its arms is stretched by one factor: that which takes the normal interval of its draws to the reach of
    the two-way analysis of variance (`Spread.reach`). The shape stays the bootstrap's. With a single seed only
    questions are resampled, and the interval says nothing about other seeds.

    Raises:
        UserError: tables of another shape, labels that do not match, or strata of several sizes.
    """
    return CrossedTables(tables, clusters, strata, draws=draws, seed=seed).estimate(statistic, level)


class CrossedTables:
    """Tables whose seeds and clusters of questions are resampled once, for any number of functions of their means.

    Arguments and errors are those of `crossed_bootstrap`.
    """

    def __init__(
        self,
        tables: npt.ArrayLike,
        clusters: Clusters = None,
        strata: Sequence[Hashable] | None = None,
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        self._values = _as_tables(tables)
        self._labels = cluster_index(clusters, self._values.shape[2])
        self._layers = _as_strata(strata, self._values.shape[1])
        self._strata, self._draws, self._seed = strata, draws, seed

    def estimate(self, statistic: Statistic, level: float = LEVEL) -> Estimate:
        """A function of the means with its interval, see `crossed_bootstrap`."""
        clusters = int(self._labels.max(initial=-1)) + 1
        size = {"n": self._values.shape[2], "seeds": self._layers.shape[1], "clusters": clusters}
        if 0 in self._values.shape:
            return nothing(**size)
        value = float(statistic(self.means))
        if not np.isfinite(value):
            return nothing(**size)
        spread = crossed_variance(_influence(self._values, statistic), self._labels, self._strata)
        if not spread.known:
            return nothing(value=value, **size)
        if spread.variance == 0:
            low, high = _no_variation(value, clusters, level)
        else:
            resampled = np.asarray(statistic(self.resampled), dtype=np.float64)
            low, high = _stretched(value, resampled, spread, level)
        return Estimate(value, low, high, spread, **size)

    @property
    def means(self) -> Floats:
        """Of each table, shape [tables]."""
        return np.asarray(self._values.mean(axis=(1, 2)), dtype=np.float64)

    @cached_property
    def resampled(self) -> Floats:
        """The means on each resample, shape [draws, tables]. A mean weighs questions, not clusters."""
        values, labels, layers, seed = self._values, self._labels, self._layers, self._seed
        groups, draws = int(labels.max()) + 1, self._draws
        sizes = _group_sums(np.ones(values.shape[2]), labels, groups)
        totals = _group_sums(values, labels, groups)
        group_weights = _multinomial(groups, draws, seed, 0)
        seed_weights = np.zeros((draws, values.shape[1]))
        for i, rows in enumerate(layers):
            seed_weights[:, rows] = _multinomial(layers.shape[1], draws, seed, 1 + i) / layers.size
        per_seed = totals.reshape(-1, groups) @ group_weights.T  # [tables x seeds, draws]
        per_seed = per_seed.reshape(*values.shape[:2], draws) / (group_weights @ sizes)
        return np.asarray(np.einsum("tsd,ds->dt", per_seed, seed_weights), dtype=np.float64)


def crossed_variance(
    values: npt.ArrayLike,
    clusters: Clusters,
    strata: Sequence[Hashable] | None = None,
) -> Spread:
    """Variance of the mean of a table [seeds, questions], in its parts: of seeds, and of questions beyond that.

    Both seeds and clusters of questions count as drawn at random. The part of seeds is the variance of the seeds'
    means (within strata); it holds the residual (how a question fares in one seed) already. So the part of clusters
    is their cluster-robust variance less the residual of the two-way analysis of variance, never below 0. One seed
    has the clusters' part only, whole. One cluster: not known.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    labels = cluster_index(clusters, table.shape[1])
    layers = _as_strata(strata, table.shape[0])
    seeds, groups = layers.shape[1], int(labels.max(initial=-1)) + 1
    if groups < 2 or seeds < 1:
        return Spread()
    totals = _group_sums(table - table.mean(), labels, groups) / table.size
    rounding = (_ROUNDING * float(np.abs(table).max())) ** 2
    among_groups = _above(rounding, float((totals.sum(axis=0) ** 2).sum()) * groups / (groups - 1))
    alone = (among_groups, float(groups - 1))
    if seeds == 1:
        return Spread((alone,))
    among_seeds = residual = 0.0
    for rows in layers:
        part = totals[rows]
        by_seed = part.sum(axis=1) - part.sum() / seeds
        rest = part - part.mean(axis=0) - by_seed[:, None] / groups
        among_seeds += float((by_seed**2).sum()) * seeds / (seeds - 1)
        residual += float((rest**2).sum()) * seeds * groups / ((seeds - 1) * (groups - 1))
    of_seeds = (_above(rounding, among_seeds), float(len(layers) * (seeds - 1)))
    of_groups = (_above(_ROUNDING * among_groups, among_groups - residual), float(groups - 1))
    return Spread((of_seeds, of_groups), least=alone)


def _above(least: float, variance: float) -> float:
    """A variance, or 0 where it is no more than rounding makes."""
    return variance if variance > least else 0.0


def _as_strata(strata: Sequence[Hashable] | None, seeds: int) -> npt.NDArray[np.int64]:
    """The rows of each stratum, shape [strata, seeds a stratum]."""
    if strata is None:
        return np.arange(seeds)[None, :]
    labels = cluster_index(strata, seeds)
    rows = [np.flatnonzero(labels == stratum) for stratum in range(int(labels.max(initial=-1)) + 1)]
    if len(set(map(len, rows))) != 1:
        raise UserError(f"strata with {sorted(map(len, rows))} seeds: the same number in each is needed")
    return np.stack(rows)


def cluster_index(clusters: Clusters, n: int) -> npt.NDArray[np.int64]:
    """Number the clusters 0, 1, ... in order of first appearance; None gives each question its own."""
    if clusters is None:
        return np.arange(n)
    if isinstance(clusters, np.ndarray) and clusters.dtype == np.int64 and clusters.shape == (n,):
        return clusters  # numbered already
    listed = clusters.tolist() if isinstance(clusters, np.ndarray) else [*clusters]
    if len(listed) != n:
        raise UserError(f"{len(listed)} labels for {n} questions or seeds")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in listed], dtype=np.int64)


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
    influence: Floats = np.tensordot(gradient, values - means[:, None, None], axes=1)
    return np.where(np.abs(influence) < 1e-9, 0.0, influence)  # rounding is no variation


@lru_cache(maxsize=16)
def _multinomial(size: int, draws: int, seed: int, stream: int) -> Floats:
    """How often each unit comes in each draw of as many, shape [draws, size]; kept, since tables share it."""
    rng = np.random.default_rng([seed, stream])
    weights = rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)
    weights.setflags(write=False)
    return weights


def _stretched(value: float, resampled: Floats, spread: Spread, level: float) -> tuple[float, float]:
    """Both arms of the percentile interval, stretched; neither shorter than half the symmetric reach.

    A lone question that differs gives draws of which most equal the estimate: their percentiles would leave no arm.
    """
    known = resampled[np.isfinite(resampled)]
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2])
    usual = float(known.std()) * quantile_t(inf, level)
    reach = spread.reach(level)
    factor = reach / usual if usual > 0 else 1.0
    return value - max(factor * (value - float(low)), reach / 2), value + max(
        factor * (float(high) - value), reach / 2
    )


def _no_variation(value: float, groups: int, level: float) -> tuple[float, float]:
    """Where no question shows any difference: as far as Wilson's interval reaches for 0 of so many clusters."""
    reach = wilson_bounds(0.0, groups, quantile_t(inf, level))[1]
    return value - reach, value + reach
