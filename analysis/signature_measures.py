"""What `w2s diagnose` measures of a run, each as an estimate with its interval; None where the run lacks the results.

Gold answers are read here, as in all of the analysis; the method never sees them.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from math import hypot, isnan, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.frame import StoreLike
from analysis.groups import Group
from analysis.labels import label_tables, ratio_estimate, runs_with_sets
from analysis.results import read_parquet
from analysis.stage_two import side_right
from w2s_core.statistics import Estimate, crossed_bootstrap, score

Floats = npt.NDArray[np.float64]


def last_agreed(group: Group) -> str | None:
    """The agreed set of the last iteration that the run has."""
    found = [name for name in group.sets() if name.startswith("agreed_") and runs_with_sets(group, name)]
    return max(found, key=lambda name: int(name.rpartition("_")[2])) if found else None


def agreement(group: Group) -> Estimate | None:
    """The share of train_2 that the last agreement keeps."""
    name = last_agreed(group)
    side = f"weak_{int(name.rpartition('_')[2]) - 1}" if name else ""
    if name is None or not runs_with_sets(group, name, side):
        return None
    tables = label_tables(group, [name, side], runs_with_sets(group, name, side))
    return score(tables.kept[name], tables.clusters)


def easy_minus_hard(group: Group) -> Estimate | None:
    """Precision of the last agreed set on the easier half of the levels, minus that on the harder half."""
    name = last_agreed(group)
    if name is None:
        return None
    tables = label_tables(group, [name], runs_with_sets(group, name))
    levels = sorted({level for level in tables.levels if isinstance(level, int | float)})
    if len(levels) < 2:
        return None
    half = levels[len(levels) // 2]
    easy = np.array([isinstance(level, int | float) and level < half for level in tables.levels])
    hard = np.array([isinstance(level, int | float) and level >= half for level in tables.levels])
    ours = [_precision(tables.kept[name], tables.right[name], mask, tables.clusters) for mask in (easy, hard)]
    return _independent_difference(*ours)


def _precision(
    kept: Floats, right: Floats, mask: npt.NDArray[np.bool_], clusters: Sequence[int] | None
) -> Estimate:
    labels = [label for label, ours in zip(clusters, mask, strict=True) if ours] if clusters else None
    return ratio_estimate(right[:, mask], kept[:, mask], labels)


def _independent_difference(first: Estimate, second: Estimate) -> Estimate | None:
    """First - second of two independent shares, by Newcombe's square-and-add of their own intervals."""
    if isnan(first.value) or isnan(second.value):
        return None
    value = first.value - second.value
    low = value - hypot(first.value - first.low, second.high - second.value)
    high = value + hypot(first.high - first.value, second.value - second.low)
    return replace(first, value=value, low=max(-1.0, low), high=min(1.0, high), n=first.n + second.n)


def shared_errors(group: Group) -> Estimate | None:
    """Where both first answers are wrong: how often they are the same, beyond what chance within a level would give.

    Chance: the answer of one side to a question against the other side's answers to all such questions of its level.
    """
    members = group.having("labels/weak_0", "labels/icl_0")
    if not members:
        return None
    rows = [_shared_rows(group, member) for member in members]
    ids = sorted({name for found in rows for name in found})
    if not ids:
        return None
    same, wrong = (np.zeros((len(members), len(ids))) for _ in range(2))
    expected = np.zeros((len(members), len(ids)))
    for i, found in enumerate(rows):
        for j, name in enumerate(ids):
            if name in found:
                wrong[i, j] = 1.0
                same[i, j], expected[i, j] = found[name]
    templates = _templates(group, members[0], "labels/weak_0")
    clusters = [templates.get(name, f"#{name}") for name in ids]
    return crossed_bootstrap(
        np.stack([same, expected, wrong]),
        lambda m: np.divide(
            m[..., 0] - m[..., 1], m[..., 2], out=np.zeros_like(m[..., 0]), where=m[..., 2] > 0
        ),
        clusters=clusters,
    )


def _shared_rows(group: Group, member: str) -> dict[str, tuple[float, float]]:
    """By question that both sides get wrong: whether the answers are the same (0 or 1), and the chance of that."""
    sides = [_first_answers(group, member, f"labels/{name}_0") for name in ("weak", "icl")]
    both = {
        name: (sides[0][name][0], sides[1][name][0], sides[0][name][2])
        for name in sides[0].keys() & sides[1].keys()
        if sides[0][name][1] == sides[1][name][1] == "wrong"
    }
    others: dict[Any, Counter[Any]] = {}
    for _, other, level in both.values():
        others.setdefault(level, Counter())[other] += 1
    return {
        name: (float(ours == other), others[level][ours] / others[level].total())
        for name, (ours, other, level) in both.items()
    }


def _first_answers(group: Group, member: str, label: str) -> dict[str, tuple[Any, str, Any]]:
    """By question: the first answer, its verdict, and the level."""
    table = read_parquet(group.graded(label, member).path, ("id", "answers", "verdicts", "level"))
    columns = [table[name].to_pylist() for name in ("id", "answers", "verdicts", "level")]
    return {
        name: (answers[0], verdicts[0], level)
        for name, answers, verdicts, level in zip(*columns, strict=True)
        if answers
    }


def _templates(group: Group, member: str, label: str) -> dict[str, Hashable]:
    graded = group.graded(label, member)
    rows = zip(graded.questions.ids, graded.templates, strict=True)
    return {name: template for name, template in rows if template is not None}


def chosen_wrong(group: Group) -> Estimate | None:
    """The share of pairs whose chosen side is wrong."""
    found = side_right(group, "chosen")
    return _complement(found) if found is not None and not isnan(found.value) else None


def _complement(found: Estimate) -> Estimate:
    return replace(found, value=1 - found.value, low=1 - found.high, high=1 - found.low)


def pair_lengths(group: Group) -> Estimate | None:
    """Mean length of the chosen sides over that of the rejected ones, in words."""
    members = group.having("pairs")
    pairs = [group.pairs(member) for member in members]
    ids = sorted({name for made in pairs for name in made.ids})
    if not ids:
        return None
    index = {name: i for i, name in enumerate(ids)}
    words = np.zeros((2, len(pairs), len(ids)))
    for row, made in enumerate(pairs):
        at = [index[name] for name in made.ids]
        for side, name in enumerate(("chosen", "rejected")):
            np.add.at(words[side][row], at, made.words[name])
    return crossed_bootstrap(words, _ratio)


def response_lengths(group: Group, method: str) -> Estimate | None:
    """Mean length of a method's greedy responses over that of M_plus's, in tokens."""
    members = group.present(method, group.m_plus)
    if not members:
        return None
    tables = np.stack(
        [np.stack([_tokens(group, one, member) for member in members]) for one in (method, group.m_plus)]
    )
    return crossed_bootstrap(tables, _ratio, clusters=group.clusters) if tables.any() else None


def _tokens(group: Group, method: str, member: str) -> Floats:
    graded = group.graded(f"greedy/{group.split}/{method}", member)
    table = read_parquet(graded.path, ("id", "tokens"))
    found = dict(zip(table["id"].to_pylist(), table["tokens"].to_pylist(), strict=True))
    return np.array([float(found[name][0]) if found.get(name) else 0.0 for name in group.ids])


def _ratio(means: Floats) -> Floats:
    first, second = means[..., 0], means[..., 1]
    return np.divide(first, second, out=np.full_like(first, nan), where=second > 0)


def training_loss(store: StoreLike, steps: Mapping[str, str], name: str) -> tuple[float, float] | None:
    """A training's first and last loss; None where the run has no such step, or it is not computed."""
    key = steps.get(name)
    if key is None or not store.has(key):
        return None
    summary = store.manifest(key).get("summary") or {}
    first, last = summary.get("loss_first"), summary.get("loss_last")
    return (float(first), float(last)) if isinstance(first, float) and isinstance(last, float) else None
