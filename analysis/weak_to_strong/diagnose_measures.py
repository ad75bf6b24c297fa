"""What `w2s diagnose` measures of a run, each as an estimate with its interval; None where the run lacks the results.

Gold answers are read here, as in all of the analysis; the method never sees them.
"""

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import hypot, isfinite, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.reading.groups import Group
from analysis.reading.labels import label_tables, ratio_estimate, runs_with_sets
from analysis.reading.results import Ints, StoreLike, read_parquet
from analysis.weak_to_strong.calibration import VOTE, interval_of, votes_of
from analysis.weak_to_strong.stage_two import side_right
from analysis.weak_to_strong.titles import m_plus
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


def _precision(kept: Floats, right: Floats, mask: npt.NDArray[np.bool_], clusters: Ints | None) -> Estimate:
    labels = clusters[mask].tolist() if clusters is not None else None
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
    found = {}
    for name, (ours, other, level) in both.items():
        peers = others[level].total() - 1  # without the question itself, whose answer is no chance
        chance = (others[level][ours] - (ours == other)) / peers if peers else 0.0
        found[name] = float(ours == other), chance
    return found


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
    known = group.having("pairs", "labels/pairs_chosen")
    templates = _templates(group, known[0], "labels/pairs_chosen") if known else {}
    return crossed_bootstrap(words, _ratio, clusters=[templates.get(name, f"#{name}") for name in ids])


def response_lengths(group: Group, method: str) -> Estimate | None:
    """Mean length of a method's greedy responses over that of M_plus's, in tokens."""
    members = group.present(method, m_plus(group))
    if not members:
        return None
    tables = np.stack(
        [np.stack([_tokens(group, one, member) for member in members]) for one in (method, m_plus(group))]
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


def weak_side(agreed: str) -> str:
    """The weak side of an agreed set: of agreed_2, weak_1."""
    return f"weak_{int(agreed.rpartition('_')[2]) - 1}"


def purity_gap(group: Group) -> Estimate | None:
    """`easy_minus_hard`, whose number of groups is that of both halves together."""
    name, found = last_agreed(group), easy_minus_hard(group)
    if name is None or found is None:
        return found
    clusters = label_tables(group, [name], runs_with_sets(group, name)).clusters
    return replace(found, clusters=found.n if clusters is None else len(set(clusters)))


def hard_over_easy(group: Group) -> Estimate | None:
    """The share of the harder half of the levels that the last agreement keeps, over that of the easier half.

    None where there are fewer than two levels; nan where nothing is kept of the easier half.
    """
    name = last_agreed(group)
    members = runs_with_sets(group, name, weak_side(name)) if name else []
    if name is None or not members:
        return None
    tables = label_tables(group, [name, weak_side(name)], members)
    halves = halves_of(tables.levels)
    if halves is None:
        return None
    kept = tables.kept[name]
    easy, hard = (np.broadcast_to(mask.astype(np.float64), kept.shape) for mask in halves)
    found = crossed_bootstrap(
        np.stack([kept * hard, hard, kept * easy, easy]), _ratio_of_shares, clusters=tables.clusters
    )
    return replace(found, low=max(0.0, found.low)) if not isnan(found.low) else found


def halves_of(levels: Sequence[Any]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
    """Which questions lie in the easier and in the harder half of the levels; of an odd number the middle is hard.

    A level that is no number belongs to neither half. None where fewer than two levels are numbers.
    """
    numbers = np.array([float(one) if isinstance(one, int | float) else nan for one in levels])
    known = np.unique(numbers[~np.isnan(numbers)])
    if len(known) < 2:
        return None
    border = known[len(known) // 2]
    return numbers < border, numbers >= border


def _ratio_of_shares(means: Floats) -> Floats:
    kept_hard, hard, kept_easy, easy = np.moveaxis(means, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (kept_hard / hard) / (kept_easy / easy)
    return np.where(np.isfinite(found), found, nan)


def rejected_right(group: Group) -> Estimate | None:
    """The share of pairs whose rejected side is right."""
    return side_right(group, "rejected")


def calibration_error(group: Group) -> str:
    """The vote's expected calibration error over its confidences, for the evidence; empty without votes."""
    found = interval_of(group, VOTE, "ece")
    if found is None or isnan(found.value):
        return ""
    return f"ECE {100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def kept_and_dropped(group: Group) -> str:
    """How many of the votes that stage2.keep keeps are right, and of those that it drops, for the evidence."""
    votes, keep = votes_of(group, VOTE), group.settings.get("stage2.keep")
    if votes is None or not isinstance(keep, int | float):
        return ""
    kept = votes.confidence >= keep
    shares = []
    for mask, name in ((kept, "kept"), (~kept, "dropped")):
        if mask.any():
            shares.append(f"of {int(mask.sum()):,} {name} {100 * votes.right[mask].mean():.1f} % right")
    return f"at stage2.keep {keep:g}: {', '.join(shares)}" if shares else ""


def loss_halves(store: StoreLike, steps: Any, name: str) -> tuple[float, float] | None:
    """Mean training loss of the earlier and the later half of a training's steps.

    From `training.json`, whose entries are means over the steps since the entry before; an entry that lies across
    the middle counts in both halves with its share. Single entries are too noisy: the first is one batch.

    Args:
        steps: keys of the run's steps by label, as its record has them.

    Returns:
        None where the run has no such step, or no readable log of it.
    """
    key = steps.get(name) if isinstance(steps, dict) else None
    if not isinstance(key, str) or not store.has(key):
        return None
    log = _log(Path(store.folder(key)) / "training.json")
    return halves_of_log(log) if log else None


def halves_of_log(log: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """See `loss_halves`: `log` has (last step, mean loss) of each entry. None where fewer than two steps were taken."""
    total = log[-1][0]
    middle, before, sums = total / 2, 0.0, [0.0, 0.0]
    if total < 2:
        return None
    for step, loss in log:
        sums[0] += max(0.0, min(step, middle) - before) * loss
        sums[1] += max(0.0, step - max(before, middle)) * loss
        before = step
    return sums[0] / middle, sums[1] / middle


def _log(path: Path) -> list[tuple[float, float]] | None:
    """(step, loss) of each entry of a training's log; None where it is missing or is no such log."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["log"]
        found = [(float(one["step"]), float(one["loss"])) for one in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    rising = all(first[0] < second[0] for first, second in pairwise(found))
    return found if found and rising and found[0][0] > 0 and all(isfinite(x) for _, x in found) else None
