"""What `w2s diagnose` measures of a run, each as an estimate with its interval; None where the run lacks the results.

Gold answers are read here, as in all of the analysis; the method never sees them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import hypot, isfinite, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.labels import LabelTables, label_tables, ratio_estimate, runs_with_sets
from w2s_analysis.reading.results import StoreLike, read_parquet
from w2s_analysis.weak_to_strong.calibration import VOTE, interval_of, votes_of
from w2s_analysis.weak_to_strong.stage_two import side_right
from w2s_analysis.weak_to_strong.titles import m_plus
from w2s_core.statistics import Bounds, Estimate, crossed_bootstrap, score

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


# Labels


def weak_side(agreed: str) -> str:
    """The weak side of an agreed set: of agreed_2, weak_1."""
    return f"weak_{int(agreed.rpartition('_')[2]) - 1}"


def _last_agreed(group: Group, *, with_side: bool = True) -> tuple[LabelTables, Floats, Floats] | None:
    """The agreed set of the last iteration that the run has: what it keeps, and what of that is right.

    With its weak side the tables cover all questions that were asked, not only those that are kept.
    """
    names = [name for name in group.sets() if name.startswith("agreed_") and runs_with_sets(group, name)]
    if not names:
        return None
    last = max(names, key=lambda name: int(name.rpartition("_")[2]))
    sets = [last, weak_side(last)] if with_side else [last]
    members = runs_with_sets(group, *sets)
    if not members:
        return None
    tables = label_tables(group, sets, members)
    return tables, tables.kept[last], tables.right[last]


def agreement(group: Group) -> Estimate | None:
    """The share of train_2 that the last agreement keeps."""
    last = _last_agreed(group)
    return score(last[1], last[0].clusters) if last else None


def in_context(group: Group) -> Estimate | None:
    """The share of train_2 whose first in-context answer (D_icl) is right."""
    members = runs_with_sets(group, "icl_0")
    if not members:
        return None
    tables = label_tables(group, ["icl_0"], members)
    return score(tables.right["icl_0"], tables.clusters)


def unread_in_context(group: Group) -> str:
    """How many of these answers cannot be read, for the evidence; empty without them."""
    members = runs_with_sets(group, "icl_0")
    if not members:
        return ""
    return f"{label_tables(group, ['icl_0'], members).unparsed['icl_0'].mean():.0%} of them cannot be read"


def purity_gap(group: Group) -> Estimate | None:
    """Precision of the last agreed set on the easier half of the levels, minus that on the harder half."""
    last = _last_agreed(group, with_side=False)
    halves = halves_of(last[0].levels) if last else None
    if last is None or halves is None:
        return None
    tables, kept, right = last
    clusters = np.arange(len(tables.ids)) if tables.clusters is None else tables.clusters
    easy, hard = (ratio_estimate(right[:, half], kept[:, half], clusters[half].tolist()) for half in halves)
    if isnan(easy.value) or isnan(hard.value):
        return None
    # Of two independent shares, by Newcombe's square-and-add of their own intervals.
    value = easy.value - hard.value
    low = max(-1.0, value - hypot(easy.value - easy.low, hard.high - hard.value))
    high = min(1.0, value + hypot(easy.high - easy.value, hard.value - hard.low))
    # A template may have questions in both halves, so the numbers of their templates do not add up.
    n, templates = easy.n + hard.n, len(np.unique(clusters[halves[0] | halves[1]]))
    return replace(easy, value=value, low=low, high=high, n=n, clusters=templates)


def hard_over_easy(group: Group) -> Estimate | None:
    """The share of the harder half of the levels that the last agreement keeps, over that of the easier half.

    None where there are fewer than two levels; nan where nothing is kept of the easier half.
    """
    last = _last_agreed(group)
    halves = halves_of(last[0].levels) if last else None
    if last is None or halves is None:
        return None
    tables, kept, _ = last
    easy, hard = (np.broadcast_to(mask.astype(np.float64), kept.shape) for mask in halves)
    counts = np.stack([kept * hard, hard, kept * easy, easy])
    estimate = crossed_bootstrap(counts, _ratio_of_shares, clusters=tables.clusters)
    return estimate if isnan(estimate.low) else replace(estimate, low=max(0.0, estimate.low))


def halves_of(levels: Sequence[Any]) -> tuple[Mask, Mask] | None:
    """Which questions lie in the easier and in the harder half of the levels; of an odd number the middle is hard.

    A level that is no number belongs to neither half. None where fewer than two levels are numbers.
    """
    numbers = np.array([float(level) if isinstance(level, int | float) else nan for level in levels])
    known = np.unique(numbers[~np.isnan(numbers)])
    if len(known) < 2:
        return None
    border = known[len(known) // 2]
    return numbers < border, numbers >= border


def _ratio_of_shares(means: Floats) -> Floats:
    kept_hard, hard, kept_easy, easy = np.moveaxis(means, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (kept_hard / hard) / (kept_easy / easy)
    return np.where(np.isfinite(ratio), ratio, nan)


def _ratio(means: Floats) -> Floats:
    return np.divide(
        means[..., 0], means[..., 1], out=np.full_like(means[..., 0], nan), where=means[..., 1] > 0
    )


def shared_errors(group: Group) -> Estimate | None:
    """Where both first answers are wrong: how often they are the same, beyond what chance within a level would give.

    Chance: the answer of one side to a question against the other side's answers to all such questions of its level.
    """
    members = group.having("labels/weak_0", "labels/icl_0")
    errors = [_shared_errors_of(group, member) for member in members]
    ids = sorted({name for of_member in errors for name in of_member})
    if not ids:
        return None
    column = {name: i for i, name in enumerate(ids)}
    tables = np.zeros((3, len(members), len(ids)))  # same answer, chance of that, both wrong
    for i, of_member in enumerate(errors):
        for name, (same, chance) in of_member.items():
            tables[:, i, column[name]] = same, chance, 1.0
    return crossed_bootstrap(tables, _excess, clusters=_templates(group, "labels/weak_0", ids))


def _excess(means: Floats) -> Floats:
    same, chance, wrong = np.moveaxis(means, -1, 0)
    return np.divide(same - chance, wrong, out=np.zeros_like(same), where=wrong > 0)


def _shared_errors_of(group: Group, member: str) -> dict[str, tuple[float, float]]:
    """By question that both sides get wrong: whether the answers are the same (0 or 1), and the chance of that."""
    weak, icl = (_wrong_answers(group, member, f"labels/{name}_0") for name in ("weak", "icl"))
    both = weak.keys() & icl.keys()
    at_level: dict[Any, Counter[Any]] = defaultdict(Counter)
    for name in both:
        at_level[weak[name][1]][icl[name][0]] += 1
    errors = {}
    for name in both:
        (answer, level), (other, _) = weak[name], icl[name]
        same, peers = answer == other, at_level[level].total() - 1
        # Without the question itself, whose answer is no chance.
        errors[name] = float(same), (at_level[level][answer] - same) / peers if peers else 0.0
    return errors


def _wrong_answers(group: Group, member: str, label: str) -> dict[str, tuple[Any, Any]]:
    """By question whose first answer is wrong: the answer and the level."""
    table = read_parquet(group.graded(label, member).path, ("id", "answers", "verdicts", "level"))
    columns = [table[name].to_pylist() for name in ("id", "answers", "verdicts", "level")]
    return {
        name: (answers[0], level)
        for name, answers, verdicts, level in zip(*columns, strict=True)
        if answers and verdicts[0] == "wrong"
    }


def _templates(group: Group, label: str, ids: Sequence[str]) -> list[Hashable]:
    """The template of each question, by the first member that has it graded; else the question stands alone."""
    templates: dict[str, str | None] = {}
    for member in group.having(label)[:1]:
        graded = group.graded(label, member)
        templates = dict(zip(graded.questions.ids, graded.templates, strict=True))
    return [templates.get(name) or f"#{name}" for name in ids]


# Pairs, responses, votes


def chosen_wrong(group: Group) -> Estimate | None:
    """The share of pairs whose chosen side is wrong."""
    right = side_right(group, "chosen")
    if right is None or isnan(right.value):
        return None
    open_ = right.bounds and Bounds(
        1 - right.bounds.upper, 1 - right.bounds.lower, 1 - right.bounds.high, 1 - right.bounds.low
    )
    return replace(right, value=1 - right.value, low=1 - right.high, high=1 - right.low, bounds=open_)


def pair_lengths(group: Group) -> Estimate | None:
    """Mean length of the chosen sides over that of the rejected ones, in words."""
    pairs = [group.pairs(member) for member in group.having("pairs")]
    ids = sorted({name for of_member in pairs for name in of_member.ids})
    if not ids:
        return None
    column = {name: i for i, name in enumerate(ids)}
    words = np.zeros((2, len(pairs), len(ids)))
    for row, of_member in enumerate(pairs):
        at = [column[name] for name in of_member.ids]
        for side, name in enumerate(("chosen", "rejected")):
            np.add.at(words[side][row], at, of_member.words[name])
    return crossed_bootstrap(words, _ratio, clusters=_templates(group, "labels/pairs_chosen", ids))


def response_lengths(group: Group, method: str) -> Estimate | None:
    """Mean length of a method's greedy responses over that of M_plus's, in tokens."""
    methods = (method, m_plus(group))
    members = group.present(*methods)
    tokens = np.array([[_tokens(group, name, member) for member in members] for name in methods])
    return crossed_bootstrap(tokens, _ratio, clusters=group.clusters) if tokens.any() else None


def _tokens(group: Group, method: str, member: str) -> list[float]:
    table = read_parquet(group.graded(f"greedy/{group.split}/{method}", member).path, ("id", "tokens"))
    lengths = dict(zip(table["id"].to_pylist(), table["tokens"].to_pylist(), strict=True))
    return [float(lengths[name][0]) if lengths.get(name) else 0.0 for name in group.ids]


def calibration_error(group: Group) -> str:
    """The vote's expected calibration error over its confidences, for the evidence; empty without votes."""
    error = interval_of(group, VOTE, "ece")
    if error is None or isnan(error.value):
        return ""
    return f"ECE {100 * error.value:.1f} % [{100 * error.low:.1f}, {100 * error.high:.1f}]"


def kept_and_dropped(group: Group) -> str:
    """How many of the votes that stage2.keep keeps are right, and of those that it drops, for the evidence."""
    votes, keep = votes_of(group, VOTE), group.settings.get("stage2.keep")
    if votes is None or not isinstance(keep, int | float):
        return ""
    kept = votes.confidence >= keep
    shares = [
        f"of {int(mask.sum()):,} {name} {100 * votes.right[mask].mean():.1f} % right"
        for mask, name in ((kept, "kept"), (~kept, "dropped"))
        if mask.any()
    ]
    return f"at stage2.keep {keep:g}: {', '.join(shares)}" if shares else ""


# Training losses


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
    steps = np.array([0.0, *(step for step, _ in log)])
    if steps[-1] < 2:
        return None
    total = np.cumsum([0.0, *np.diff(steps) * [loss for _, loss in log]])  # of the loss, up to each step
    middle = steps[-1] / 2
    earlier = float(np.interp(middle, steps, total))
    return earlier / middle, (float(total[-1]) - earlier) / middle


def _log(path: Path) -> list[tuple[float, float]] | None:
    """(step, loss) of each entry of a training's log; None where it is missing or is no such log."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["log"]
        log = [(float(entry["step"]), float(entry["loss"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    rising = all(first[0] < second[0] for first, second in pairwise(log))
    return log if log and rising and log[0][0] > 0 and all(isfinite(x) for _, x in log) else None
