"""The tables of one experiment over its seeds: accuracy of every method, and quality of labels and pairs."""

from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analysis.frame import Frames
from analysis.groups import PASS_K, Group, make_groups
from analysis.labels import label_quality_over_seeds
from analysis.methods import is_control, method_name, ordered, ordered_sets, set_name
from analysis.published import published_figure
from analysis.table import (
    MISSING,
    Cell,
    Table,
    count,
    percent,
    percent_interval,
    ratio_interval,
    words,
)
from w2s_core.errors import UserError
from w2s_core.statistics import Recovery, crossed_variance, recovery, score

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


def run_table(frames: Frames, run: str, split: str | None = None) -> list[Table]:
    """The tables of one run: accuracy, labels, pairs.

    Raises:
        UserError: the frame has no such run.
    """
    known = list(frames.runs["run"])
    if run not in known:
        raise UserError(f"no run '{run}' in the frame; there are: {', '.join(known)}")
    only = Frames(
        runs=frames.runs[frames.runs["run"] == run],
        targets=frames.targets[frames.targets["run"] == run],
        grades=frames.grades[frames.grades["run"] == run],
        labels=frames.labels[frames.labels["run"] == run],
        pairs=frames.pairs[frames.pairs["run"] == run],
        settings=frames.settings,
    )
    return group_tables(make_groups(only, split)[0])


def all_tables(frames: Frames, split: str | None = None) -> list[tuple[Group, list[Table]]]:
    """The tables of each experiment in the frame, over its seeds."""
    return [(group, group_tables(group)) for group in make_groups(frames, split)]


def group_tables(group: Group) -> list[Table]:
    """The tables of a group: accuracy, labels, pairs."""
    return [accuracy_table(group), label_table(group), pair_table(group)]


def accuracy_table(group: Group) -> Table:
    """Accuracy, pass@10, accuracy by level and PGR of every method that the runs were to evaluate."""
    levels = sorted({level for level in group.levels if level is not None}, key=_level_order)
    headings = {level: f"L{level}" if isinstance(level, int) else str(level) for level in levels}
    planned = ordered(group.planned())
    columns = ["method", "accuracy", f"pass@{PASS_K}", *headings.values(), "PGR"]
    table = Table(_title(group, f"Accuracy on {group.split}, per cent"), columns)
    table.spans = ("accuracy", f"pass@{PASS_K}", "PGR")
    unresolved: set[str] = set()
    for method in planned:
        row, pgr = _accuracy_row(group, method, headings)
        table.rows.append(row)
        unresolved |= {pgr.reason} if pgr is not None and not pgr.resolved else set()
    if any(
        (paper := published_figure(group.task, group.weak, method, group.m_plus)) is not None
        for method in planned
    ):
        table.columns.append("paper")
        for method, row in zip(planned, table.rows, strict=True):
            paper = published_figure(group.task, group.weak, method, group.m_plus)
            row["paper"] = Cell(f"{paper:.2f}", paper) if paper is not None else Cell("–")
    table.notes = [*sorted(unresolved), *_footer(group)]
    return table


def _level_order(level: Any) -> tuple[bool, Any]:
    return isinstance(level, str), level


def _accuracy_row(
    group: Group, method: str, headings: dict[Any, str]
) -> tuple[dict[str, Cell], Recovery | None]:
    row = {"method": words(method_name(method, group.m_plus))}
    runs = group.present(method)
    if not runs:
        return row | {"accuracy": words(MISSING)}, None
    scores = group.table(method)
    row["accuracy"] = percent_interval(score(scores, group.clusters))
    if len(runs) < len(group.runs):
        row["method"] = words(f"{row['method'].text} ({len(runs)}/{len(group.runs)} seeds)")
    sampled = f"pass@{PASS_K}"
    if method in group.planned("samples"):
        row[sampled] = _pass_cell(group, method)
    at = np.array(group.levels, dtype=object)
    for level, heading in headings.items():
        row[heading] = percent(float(scores[:, at == level].mean()), digits=0)
    pgr = None
    if method not in ("weak_floor", "ceiling"):
        pgr = group_recovery(group, method)
        row["PGR"] = ratio_interval(pgr.ratio) if pgr is not None else words("–")
    return row, pgr


def _pass_cell(group: Group, method: str) -> Cell:
    if not group.present(method, k=PASS_K):
        return words(MISSING)
    try:
        estimate = score(group.table(method, k=PASS_K), group.clusters)
    except UserError:
        return words("–")  # fewer samples were drawn than pass@10 needs
    return Cell(percent(estimate.value).text, 100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


def group_recovery(group: Group, method: str) -> Recovery | None:
    """PGR of a method over the seeds that have it, the floor and the ceiling; None if no seed has all three."""
    parts = ("weak_floor", method, "ceiling")
    runs = group.present(*parts)
    if not runs:
        return None
    floor, system, ceiling = (group.table(one, runs=runs) for one in parts)
    return recovery(floor, system, ceiling, group.clusters)


def _footer(group: Group) -> list[str]:
    seeds = ", ".join(map(str, group.seeds))
    grouped = f" in {len(set(group.clusters))} templates" if group.clusters is not None else ""
    notes = [f"n = {len(group.ids)} questions{grouped}; seeds {seeds}; intervals 95 %, over questions"]
    notes[0] += " and seeds." if len(group.seeds) > 1 else " only: one seed says nothing about other seeds."
    notes += _responses_note(group)
    smallest = _detectable(group)
    if not isnan(smallest):
        notes.append(
            f"A difference from {method_name(group.m_plus)} must be about {100 * smallest:.1f} points "
            "to be found in 4 of 5 tries (paired, p < 0.05)."
        )
    absent = [f"{row.label} of {row.run}" for row in group.targets.itertuples() if not row.present]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        notes.append(f"Missing: {', '.join(absent[:3])}{more}. The command below computes what is missing.")
    notes.append(f"run{'s' if len(group.runs) > 1 else ''}: {', '.join(group.runs)}")
    return notes + [f"command: {command}" for command in dict.fromkeys(group.commands) if command]


def _responses_note(group: Group) -> list[str]:
    """What went wrong with greedy responses, counted: an unparsed answer is no wrong answer, though it scores 0."""
    counted = group.counts("greedy")
    total = counted.pop("responses")
    if not total:
        return []
    parts = [f"{number:,} {name.replace('_', ' ')}" for name, number in counted.items()]
    return [f"Of {total:,} greedy responses above: {', '.join(parts)}."]


def _detectable(group: Group) -> float:
    """The smallest paired difference from M_plus that the data can show, as the median over the paper's methods."""
    found = []
    for method in group.planned():
        runs = group.present(method, group.m_plus)
        if method == group.m_plus or is_control(method) or not runs:
            continue
        difference = group.table(method, runs=runs) - group.table(group.m_plus, runs=runs)
        spread = crossed_variance(difference, group.clusters)
        if spread.known:
            found.append(spread.detectable())
    return float(np.median(found)) if found else nan


def label_table(group: Group) -> Table:
    """Precision and coverage of the labelled sets of train_2: all answers, and those kept by agreement."""
    planned = group.targets["label"]
    names = planned[planned.str.startswith("labels/") & ~planned.str.startswith("labels/pairs_")]
    table = Table(
        _title(group, "Labels on train_2, per cent"), ["set", "precision", "coverage", "rows", "unparsed"]
    )
    table.spans = ("precision",)
    for name in ordered_sets(name.removeprefix("labels/") for name in names):
        quality = label_quality_over_seeds(group, name)
        row = {"set": words(set_name(name))}
        if quality is None:
            row["precision"] = words(MISSING)
        else:
            row |= {
                "precision": percent_interval(quality.precision),
                "coverage": percent(quality.coverage),
                "rows": count(quality.rows),
                "unparsed": count(quality.unparsed),
            }
        table.rows.append(row)
    if len(group.runs) > 1:
        table.notes.append("Rows and unparsed are means over seeds.")
    return table


def pair_table(group: Group) -> Table:
    """The pairs of Stage II: how many, which side the weak response is on, how often each side is right, lengths."""
    table = Table(_title(group, "Pairs for Stage II"), ["pairs", "number", "right, per cent", "words, mean"])
    pairs = group.pairs
    if not (group.targets["label"] == "pairs").any():
        return table
    if not group.targets.loc[group.targets["label"] == "pairs", "present"].any():
        table.rows.append({"pairs": words("all"), "number": words(MISSING)})
        return table
    kinds = sorted(kind for kind in set(pairs["kind"]) if isinstance(kind, str))
    seeds = max(1, int(group.targets.loc[group.targets["label"] == "pairs", "present"].sum()))
    table.rows.append({"pairs": words("all"), "number": count(len(pairs) / seeds)})
    for kind in kinds:
        table.rows.append(
            {"pairs": words(kind.replace("_", " ")), "number": count((pairs["kind"] == kind).sum() / seeds)}
        )
    for side in ("chosen", "rejected"):
        table.rows.append(_side_row(pairs, side))
    if seeds > 1:
        table.notes.append("Numbers are means over seeds.")
    return table


def _side_row(pairs: "pd.DataFrame", side: str) -> dict[str, Cell]:
    graded = pairs[f"{side}_right"].dropna()
    return {
        "pairs": words(f"{side} side"),
        "right, per cent": percent(float(graded.astype(float).mean()) if len(graded) else nan),
        "words, mean": count(round(float(pairs[f"{side}_words"].mean()), 1) if len(pairs) else nan),
    }


def _title(group: Group, what: str) -> str:
    return f"{what} · weak {group.name}, strong {group.strong}"
