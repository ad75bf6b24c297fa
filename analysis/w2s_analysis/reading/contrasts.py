"""Paired contrasts over several subjects (weak models, say): their mean, with chance from questions and seeds.

Subjects are few and chosen, so they are not resampled: an interval speaks of these subjects. Runs of different subjects
count as independent of each other, so three subjects with three seeds have 6 degrees of freedom for the seeds. Not so
against the ceiling: subjects share it, so a seed is one unit over all of them (2 degrees of freedom).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.labels import label_tables, runs_with_sets
from w2s_analysis.reading.recipes import model_heading
from w2s_core.errors import UserError
from w2s_core.statistics import Estimate, Spread, crossed_bootstrap, crossed_variance, imbens_manski
from w2s_core.statistics.estimates import LEVEL

Floats = npt.NDArray[np.float64]


def check_comparable(groups: Sequence[Group]) -> None:
    """Refuse groups that differ in more than their subject.

    Raises:
        UserError: no group; a subject with two settings; other questions; several companion models.
    """
    if not groups:
        raise UserError("findings need at least one run")
    kind = model_heading(groups[0].lead)
    names = [group.subject for group in groups]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(
            f"findings compare {kind}s under one setting, but '{repeated[0]}' has {names.count(repeated[0])} settings"
        )
    for field in groups[0].companions:
        others = sorted({group.companions.get(field, "?") for group in groups})
        if len(others) > 1:
            raise UserError(
                f"findings need one {model_heading(field)}, but these runs have {', '.join(others)}"
            )
    from w2s_core.statistics import same_ids

    filled = [group for group in groups if group.ids]
    for other in filled[1:]:
        same_ids(set(filled[0].ids), set(other.ids), (f"{kind} {filled[0].name}", f"{kind} {other.name}"))


def shared_seeds(groups: Sequence[Group], *methods: str, k: int = 1) -> list[int]:
    """Seeds for which every group has all of the methods."""
    sets = []
    for group in groups:
        present = set(group.present(*methods, k=k))
        sets.append({seed for seed, run in zip(group.seeds, group.runs, strict=True) if run in present})
    return sorted(set.intersection(*sets)) if sets else []


def mean_table(
    groups: Sequence[Group], method: str, seeds: Sequence[int], *, k: int = 1, best: bool = False
) -> Floats:
    """Scores averaged over subjects, shape [seeds, questions].

    Args:
        best: count every response that was not graded as right.
    """
    tables = []
    for group in groups:
        by_seed = dict(zip(group.seeds, group.runs, strict=True))
        table = group.best_table if best else group.table
        tables.append(table(method, k=k, runs=[by_seed[seed] for seed in seeds]))
    return np.asarray(np.mean(tables, axis=0), dtype=np.float64)


def difference(
    groups: Sequence[Group],
    second: str,
    first: str,
    *,
    k: int = 1,
    chosen: npt.NDArray[np.bool_] | None = None,
) -> Estimate | None:
    """Mean of `second - first` over subjects, seeds and questions; None where no seed has all that it needs.

    Bounds: from ungraded responses of `first` right and of `second` wrong to the reverse.

    Args:
        chosen: which questions, a mask; all if not given.
    """
    seeds = shared_seeds(groups, second, first, k=k)
    if not seeds:
        return None
    mask = np.ones(len(groups[0].ids), dtype=bool) if chosen is None else chosen
    clusters = groups[0].clusters_at(mask)
    shared_ceiling = "ceiling" in (groups[0].role(first), groups[0].role(second))
    rows, strata = (mean_table, None) if shared_ceiling else (_all_runs, _strata(groups, seeds))
    sides = [
        [rows(groups, method, seeds, k=k, best=best)[:, mask] for best in (False, True)]
        for method in (first, second)
    ]

    def effect(of_first: int, of_second: int, level: float) -> Estimate:
        tables = np.stack([sides[0][of_first], sides[1][of_second]])
        return _within_one(crossed_bootstrap(tables, _minus, clusters=clusters, strata=strata, level=level))

    return _with_bounds(effect, sides)


def _with_bounds(
    effect: Callable[[int, int, float], Estimate], sides: Sequence[Sequence[Floats]]
) -> Estimate:
    """The effect of second minus first, with its bounds where responses were not graded.

    Args:
        effect: of the worst (0) or best (1) of the first and of the second, at a level.
        sides: tables of the first and of the second: worst, best.
    """
    estimate = effect(0, 0, LEVEL)
    if all(np.array_equal(worst, best) for worst, best in sides):
        return estimate
    return replace(estimate, bounds=imbens_manski(partial(effect, 1, 0), partial(effect, 0, 1)))


def _within_one(effect: Estimate) -> Estimate:
    """Two shares differ by 1 at most, whatever the interval of few questions and seeds says."""
    return replace(effect, low=max(-1.0, effect.low), high=min(1.0, effect.high))


def _all_runs(
    groups: Sequence[Group], method: str, seeds: Sequence[int], *, k: int = 1, best: bool = False
) -> Floats:
    """Scores of all runs, shape [subjects x seeds, questions]."""
    return np.concatenate([mean_table([group], method, seeds, k=k, best=best) for group in groups])


def _strata(groups: Sequence[Group], seeds: Sequence[int]) -> list[int]:
    return [i for i in range(len(groups)) for _ in seeds]


def between_groups(better: Group, worse: Group, method: str) -> Estimate | None:
    """A method's score with one subject minus its score with another, paired by question."""
    seeds = shared_seeds([better, worse], method)
    if not seeds:
        return None
    sides = [
        [mean_table([group], method, seeds, best=best) for best in (False, True)] for group in (worse, better)
    ]

    def effect(of_worse: int, of_better: int, level: float) -> Estimate:
        # The mean over both models' runs is then the difference.
        both = np.concatenate([-2 * sides[0][of_worse], 2 * sides[1][of_better]])
        return crossed_bootstrap(
            both[None],
            lambda means: means[..., 0],
            clusters=better.clusters,
            strata=_strata([worse, better], seeds),
            level=level,
        )

    return _with_bounds(effect, sides)


def setting_spread(second: Group, first: Group, method: str) -> Spread:
    """The chance in a method's score under one setting minus another, paired by question and seed."""
    seeds = shared_seeds([first, second], method)
    if not seeds:
        return Spread()
    change = mean_table([second], method, seeds) - mean_table([first], method, seeds)
    return crossed_variance(change, first.clusters)


def _minus(means: Floats) -> Floats:
    return np.asarray(means[..., 1] - means[..., 0])


def precision_gain(groups: Sequence[Group], second: str, first: str) -> Estimate | None:
    """Precision of one labelled set minus that of another, mean over subjects; None where no seed has all sets.

    The sets hold different questions; both are resampled together, as ratios right / kept.
    """
    seeds = sorted(set.intersection(*(set(_seeds_with_sets(group, second, first)) for group in groups)))
    if not seeds:
        return None
    sides: list[list[Floats]] = [[], []]  # of each set and subject: kept, right, right at best
    clusters, ids = None, None
    for group in groups:
        by_seed = dict(zip(group.seeds, group.runs, strict=True))
        labels = label_tables(group, [first, second], [by_seed[seed] for seed in seeds])
        if ids is not None and labels.ids != ids:
            raise UserError(
                f"{model_heading(group.lead)}s {groups[0].name} and {group.name} labelled different questions"
            )
        ids, clusters = labels.ids, labels.clusters
        for side, name in zip(sides, (first, second), strict=True):
            right = labels.right[name]
            side.append(np.stack([labels.kept[name], right, right + labels.open[name]]))
    if not ids:
        return None

    def effect(of_first: int, of_second: int, level: float) -> Estimate:
        pairs = zip(sides[0], sides[1], strict=True)
        stacks = [part for a, b in pairs for part in (a[0], a[1 + of_first], b[0], b[1 + of_second])]
        return crossed_bootstrap(np.stack(stacks), _gain, clusters=clusters, level=level)

    return _with_bounds(effect, [[part[1], part[2]] for side in sides for part in side])


def _gain(means: Floats) -> Floats:
    """Mean over subjects of right/kept of the second set minus the first; four tables a subject."""
    parts = means.reshape(*means.shape[:-1], -1, 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = parts[..., 3] / parts[..., 2] - parts[..., 1] / parts[..., 0]
    return np.asarray(gains.mean(axis=-1))


def _seeds_with_sets(group: Group, *names: str) -> list[int]:
    runs = set(runs_with_sets(group, *names))
    return [seed for seed, run in zip(group.seeds, group.runs, strict=True) if run in runs]
