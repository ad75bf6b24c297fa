"""Labelled sets of training questions over seeds: precision, coverage, and tables aligned on the questions.

The label of a question is the first response of its row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isnan, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.groups import Group, shared
from w2s_analysis.reading.results import Graded, Ints, number_clusters
from w2s_core.statistics import Estimate, crossed_variance, imbens_manski, quantile_t
from w2s_core.statistics.crossed import Clusters
from w2s_core.statistics.estimates import LEVEL, effective_size, nothing, wilson_bounds

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SetQuality:
    """A labelled set over seeds: precision with its interval; coverage, rows and unparsed as means over seeds.

    `by_level`: of each level, the share of the set's rows and their precision (nan where there is none).
    """

    precision: Estimate
    coverage: float
    rows: float
    unparsed: float
    seeds: int
    by_level: dict[Any, tuple[float, float]]


@dataclass(frozen=True)
class LabelTables:
    """Which questions sets keep and get right, shape [seeds, questions], aligned for several sets.

    `open`: those whose label was not graded, see `Graded.open`.
    """

    ids: list[str]
    levels: list[Any]
    kept: dict[str, Floats]
    right: dict[str, Floats]
    unparsed: dict[str, Floats]
    open: dict[str, Floats]
    clusters: Ints | None


def label_quality_over_seeds(group: Group, name: str, asked: float = nan) -> SetQuality | None:
    """Quality of a set over questions and seeds; None where no member has the set.

    Args:
        asked: how many questions there were to label; those of the set where that is not known.
    """
    members = runs_with_sets(group, name)
    if not members:
        return None

    def measure() -> SetQuality:
        return quality_in(label_tables(group, [name], members), name, asked)

    # By repr, since nan is not equal to itself and would never be found again.
    return shared(group, [f"labels/{name}"], (name, repr(asked)), measure)


def quality_in(tables: LabelTables, name: str, asked: float = nan) -> SetQuality:
    """Quality of one of some aligned sets, see `label_quality_over_seeds`."""
    return set_quality(
        tables.kept[name],
        tables.right[name],
        tables.open[name],
        float(len(tables.ids)) if isnan(asked) else asked,
        unparsed=tables.unparsed[name],
        levels=tables.levels,
        clusters=tables.clusters,
    )


def set_quality(
    kept: Floats,
    right: Floats,
    open_: Floats,
    asked: float,
    *,
    unparsed: Floats | None = None,
    levels: Sequence[Any] = (),
    clusters: Clusters = None,
) -> SetQuality:
    """Quality of a set from which questions it keeps and gets right, both 0 or 1, shape [seeds, questions].

    Args:
        open_: the questions whose labels were not graded, see `Graded.open`.
        asked: how many questions there were to label.
        levels, clusters: one a question, if known.
    """
    seeds = len(kept)
    rows = float(kept.sum()) / seeds if seeds else nan
    return SetQuality(
        precision=ratio_estimate(right, kept, clusters, best=right + open_),
        coverage=rows / asked if asked else nan,
        rows=rows,
        unparsed=float(unparsed.sum()) / seeds if unparsed is not None and seeds else 0.0,
        seeds=seeds,
        by_level=_by_level(kept, right, levels),
    )


def _by_level(kept: Floats, right: Floats, levels: Sequence[Any]) -> dict[Any, tuple[float, float]]:
    at = np.empty(len(levels), dtype=object)
    at[:] = list(levels)
    shares = {}
    for level in {level for level in levels if level is not None}:
        rows, hits = float(kept[:, at == level].sum()), float(right[:, at == level].sum())
        shares[level] = (rows / kept.sum() if kept.sum() else nan, hits / rows if rows else nan)
    return shares


def ratio_estimate(
    part: Floats, whole: Floats, clusters: Clusters = None, *, best: Floats | None = None
) -> Estimate:
    """A share of what is kept, `part / whole` with both of shape [seeds, questions] and part <= whole.

    Its variance is that of the linearised ratio over questions and seeds; the interval is Wilson's at the effective
    size, as that of `statistics.score`, so that it keeps inside [0, 1].

    Args:
        best: `part` where all that was not graded counts; it gives the bounds.
    """
    estimate = _ratio(part, whole, clusters)
    if best is None or not (best > part).any():
        return estimate
    lower, upper = (partial(_ratio, ends, whole, clusters) for ends in (part, best))
    return replace(estimate, bounds=imbens_manski(lower, upper))


def _ratio(part: Floats, whole: Floats, clusters: Clusters, level: float = LEVEL) -> Estimate:
    n, kept = whole.shape[1], float(whole.sum())
    grouped = n if clusters is None else len(set(clusters))
    if kept == 0:
        return nothing(n, len(whole), grouped, nan)
    share = float(part.sum()) / kept
    spread = crossed_variance((part - share * whole) / (kept / whole.size), clusters)
    if spread.known and spread.variance > 0:
        bounds = wilson_bounds(share, effective_size(share, spread.variance), spread.reach(level) / spread.se)
    else:  # all alike: as many independent answers as there are clusters with one
        bounds = wilson_bounds(share, _occupied(whole, clusters), quantile_t(inf, level))
    return Estimate(share, *bounds, spread, n, len(whole), grouped)


def _occupied(whole: Floats, clusters: Clusters) -> int:
    hit = np.flatnonzero(whole.any(axis=0)).tolist()
    return len(hit) if clusters is None else len({clusters[i] for i in hit})


def runs_with_sets(group: Group, *names: str) -> list[str]:
    """The members that have all of these sets (an empty set counts as there)."""
    return group.having(*(f"labels/{name}" for name in names))


def label_tables(group: Group, names: Sequence[str], runs: Sequence[str]) -> LabelTables:
    """Align sets on the questions that any of them holds; a question that a set lacks has kept = right = 0."""
    graded = {
        (name, run): group.graded(f"labels/{name}", run) for name in dict.fromkeys(names) for run in runs
    }
    index, first = _universe(list(graded.values()))
    kept, right, unparsed, open_ = (
        {name: np.zeros((len(runs), len(index))) for name in dict.fromkeys(names)} for _ in range(4)
    )
    for (name, run), labels in graded.items():
        at = [index[question] for question in labels.questions.ids]
        row = list(runs).index(run)
        kept[name][row, at] = 1.0
        right[name][row, at] = labels.right
        unparsed[name][row, at] = labels.count("unparsed") > 0
        open_[name][row, at] = labels.open
    ids = list(index)
    levels, clusters = [first[name][0] for name in ids], number_clusters([first[name][1] for name in ids])
    return LabelTables(ids, levels, kept, right, unparsed, open_, clusters)


def _universe(sets: Sequence[Graded]) -> tuple[dict[str, int], Mapping[str, tuple[Any, str | None]]]:
    """All questions of some sets: their place in order of the ids, and their level and template."""
    known: dict[str, tuple[Any, str | None]] = {}
    for labels in sets:
        if not labels.questions.index.keys() <= known.keys():
            rows = zip(labels.questions.ids, labels.levels, labels.templates, strict=True)
            known = {name: (level, template) for name, level, template in rows} | known
    return {name: i for i, name in enumerate(sorted(known))}, known
