"""Labelled sets of train_2 over seeds: precision, coverage, and tables aligned on the questions.

The label of a question is the first response of its row. The rest of an agreed set, which the filter drops, is
`dropped_i`: the weak side's answers to all other questions (the demonstrations are among them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.reading.groups import Group, shared
from analysis.reading.results import Graded, Ints, number_clusters
from w2s_core.statistics import Estimate, crossed_variance, quantile_t
from w2s_core.statistics.crossed import Clusters
from w2s_core.statistics.estimates import effective_size, nothing, wilson_bounds

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
    """Which questions of train_2 sets keep and get right, shape [seeds, questions], aligned for several sets."""

    ids: list[str]
    levels: list[Any]
    kept: dict[str, Floats]
    right: dict[str, Floats]
    unparsed: dict[str, Floats]
    clusters: Ints | None


def label_quality_over_seeds(group: Group, name: str) -> SetQuality | None:
    """Quality of a set over questions and seeds; None where no member has the set."""
    members = runs_with_sets(group, name)
    if not members:
        return None
    labels = [f"labels/{part}" for part in _parts(name)]
    return shared(group, labels, (name, group.train_2), lambda: _quality(group, name, members))


def _quality(group: Group, name: str, members: Sequence[str]) -> SetQuality:
    tables = label_tables(group, [name], members)
    asked = group.train_2 if group.train_2 == group.train_2 else float(len(tables.ids))
    return set_quality(
        tables.kept[name],
        tables.right[name],
        asked,
        unparsed=tables.unparsed[name],
        levels=tables.levels,
        clusters=tables.clusters,
    )


def set_quality(
    kept: Floats,
    right: Floats,
    asked: float,
    *,
    unparsed: Floats | None = None,
    levels: Sequence[Any] = (),
    clusters: Clusters = None,
) -> SetQuality:
    """Quality of a set from which questions it keeps and gets right, both 0 or 1, shape [seeds, questions].

    Args:
        asked: how many questions there were to label.
        levels, clusters: one a question, if known.
    """
    seeds = len(kept)
    rows = float(kept.sum()) / seeds if seeds else nan
    return SetQuality(
        precision=ratio_estimate(right, kept, clusters),
        coverage=rows / asked if asked else nan,
        rows=rows,
        unparsed=float(unparsed.sum()) / seeds if unparsed is not None and seeds else 0.0,
        seeds=seeds,
        by_level=_by_level(kept, right, levels),
    )


def _by_level(kept: Floats, right: Floats, levels: Sequence[Any]) -> dict[Any, tuple[float, float]]:
    at = np.empty(len(levels), dtype=object)
    at[:] = list(levels)
    found = {}
    for level in {level for level in levels if level is not None}:
        ours, hits = float(kept[:, at == level].sum()), float(right[:, at == level].sum())
        found[level] = (ours / kept.sum() if kept.sum() else nan, hits / ours if ours else nan)
    return found


def ratio_estimate(part: Floats, whole: Floats, clusters: Clusters = None) -> Estimate:
    """A share of what is kept, `part / whole` with both of shape [seeds, questions] and part <= whole.

    Its variance is that of the linearised ratio over questions and seeds; the interval is Wilson's at the effective
    size, as that of `statistics.score`, so that it keeps inside [0, 1].
    """
    n, kept = whole.shape[1], float(whole.sum())
    grouped = n if clusters is None else len(set(clusters))
    if kept == 0:
        return nothing(n, len(whole), grouped, nan)
    share = float(part.sum()) / kept
    spread = crossed_variance((part - share * whole) / (kept / whole.size), clusters)
    if spread.known and spread.variance > 0:
        bounds = wilson_bounds(share, effective_size(share, spread.variance), spread.reach() / spread.se)
    else:  # all alike: as many independent answers as there are clusters with one
        bounds = wilson_bounds(share, _occupied(whole, clusters), quantile_t(inf))
    return Estimate(share, *bounds, spread, n, len(whole), grouped)


def _occupied(whole: Floats, clusters: Clusters) -> int:
    hit = np.flatnonzero(whole.any(axis=0)).tolist()
    return len(hit) if clusters is None else len({clusters[i] for i in hit})


def runs_with_sets(group: Group, *names: str) -> list[str]:
    """The members that have all of these sets (an empty set counts as there)."""
    return group.having(*(f"labels/{part}" for name in names for part in _parts(name)))


def _parts(name: str) -> tuple[str, ...]:
    """The sets that a set is made of: the rest needs the agreed set and the weak side."""
    side, _, number = name.rpartition("_")
    return (f"agreed_{number}", f"weak_{int(number) - 1}") if side == "dropped" else (name,)


def label_tables(group: Group, names: Sequence[str], runs: Sequence[str]) -> LabelTables:
    """Align sets on the questions that any of them holds; a question that a set lacks has kept = right = 0."""
    plain = list(dict.fromkeys(part for name in names for part in _parts(name)))
    graded = {(name, run): group.graded(f"labels/{name}", run) for name in plain for run in runs}
    index, first = _universe(list(graded.values()))
    kept = {name: np.zeros((len(runs), len(index))) for name in plain}
    right, unparsed = ({name: np.zeros((len(runs), len(index))) for name in plain} for _ in range(2))
    for (name, run), one in graded.items():
        at = [index[question] for question in one.questions.ids]
        row = list(runs).index(run)
        kept[name][row, at] = 1.0
        right[name][row, at] = one.right
        unparsed[name][row, at] = one.count("unparsed") > 0
    for name in names:
        if name not in kept:
            agreed, weak = _parts(name)
            rest = kept[weak] * (1 - kept[agreed])
            kept[name], right[name] = rest, right[weak] * rest
            unparsed[name] = unparsed[weak] * rest
    ids = list(index)
    levels, clusters = [first[name][0] for name in ids], number_clusters([first[name][1] for name in ids])
    return LabelTables(ids, levels, kept, right, unparsed, clusters)


def _universe(sets: Sequence[Graded]) -> tuple[dict[str, int], Mapping[str, tuple[Any, str | None]]]:
    """All questions of some sets: their place in order of the ids, and their level and template."""
    seen: dict[str, tuple[Any, str | None]] = {}
    for one in sets:
        if not one.questions.index.keys() <= seen.keys():
            rows = zip(one.questions.ids, one.levels, one.templates, strict=True)
            seen = {name: (level, template) for name, level, template in rows} | seen
    return {name: i for i, name in enumerate(sorted(seen))}, seen
