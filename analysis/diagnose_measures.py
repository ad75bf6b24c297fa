"""Further quantities of `w2s diagnose`: what agreement keeps by level, the vote's details, a training's loss.

Gold answers are read here, as in all of the analysis; the method never sees them.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.calibration import VOTE, interval_of, votes_of
from analysis.groups import Group
from analysis.labels import label_tables, runs_with_sets
from analysis.results import StoreLike
from analysis.signature_measures import easy_minus_hard, last_agreed
from analysis.stage_two import side_right
from w2s_core.statistics import Estimate, crossed_bootstrap

Floats = npt.NDArray[np.float64]


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
