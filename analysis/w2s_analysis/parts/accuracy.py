"""Accuracy of every model of one experiment over its seeds, and the share of the gap that each recovers (PGR)."""

from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.groups import PASS_K, Group, accuracy_bounds, accuracy_estimate, once
from w2s_analysis.writing.notes import footer, samples_note, seeds_there, smallest_gain
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    percent,
    percent_interval,
    ratio_interval,
    with_bounds,
    with_bounds_unmarked,
    words,
)
from w2s_core.statistics import Bounds, Recovery, bounded_recovery, recovery, score

Floats = npt.NDArray[np.float64]
SAMPLED = f"pass@{PASS_K}"
PGR = "PGR"


def accuracy_table(
    group: Group,
    name: str = "accuracy",
    add_columns: Callable[[Table, Group], None] = lambda table, group: None,
) -> Table:
    """Accuracy, pass@10, accuracy by level and PGR of every model that the runs were to evaluate.

    Args:
        name: of the CSV file.
        add_columns: adds a recipe's own columns, and notes on them, to a table that has all rows.
    """
    headings = level_headings(group)
    columns = ["method", "accuracy", SAMPLED, *headings.values(), *([PGR] if group.bounds() else [])]
    table = Table(title(group, f"Accuracy on {group.split}, per cent"), columns, name=name, of=group.name)
    table.spans = ("accuracy", SAMPLED, PGR)
    unresolved: set[str] = set()
    for method in group.planned():
        row, pgr = _accuracy_row(group, method, headings)
        table.rows.append(row)
        unresolved |= {pgr.reason} if pgr is not None and not pgr.resolved else set()
    if not any(SAMPLED in row for row in table.rows):
        table.columns.remove(SAMPLED)
    add_columns(table, group)
    table.notes = [
        *sorted(unresolved),
        *table.notes,
        *samples_note(group),
        *footer([group], smallest_gain(group), counts=True),
    ]
    return table


def level_headings(group: Group) -> dict[Any, str]:
    """The levels of the questions, easiest first, and what their columns are called."""
    levels = {level for level in group.levels if level is not None}
    ranked = sorted(levels, key=lambda level: (isinstance(level, str), level))
    return {level: f"L{level}" if isinstance(level, int) else str(level) for level in ranked}


def title(group: Group, subject: str) -> str:
    """A table's title."""
    return f"{subject} · {group.described}"


def named_method(group: Group, method: str) -> str:
    """A method's name, with the number of its seeds where some lack it."""
    runs = group.present(method)
    return group.title(method) + seeds_there(len(runs), len(group.runs))


def accuracy_of(group: Group, method: str) -> Cell:
    """A method's accuracy with its interval, or that it is missing; with the bounds that ungraded responses leave."""
    estimate = accuracy_estimate(group, method)
    if estimate is None:
        return words(MISSING)
    return percent_interval(estimate)


def _accuracy_row(
    group: Group, method: str, headings: dict[Any, str]
) -> tuple[dict[str, Cell], Recovery | None]:
    row = {"method": words(named_method(group, method)), "accuracy": accuracy_of(group, method)}
    if method in group.planned("samples"):
        row[SAMPLED] = _pass_cell(group, method)
    if not group.present(method):
        return row, None
    worst, best = level_means(group, group.table(method)), level_means(group, group.best_table(method))
    row |= {heading: _level_cell(worst[level], best[level]) for level, heading in headings.items()}
    pgr = None
    bounds = group.bounds()
    if bounds and method not in bounds:
        pgr = group_recovery(group, method)
        row[PGR] = ratio_interval(pgr.ratio) if pgr is not None else words("–")
    return row, pgr


def _level_cell(worst: float, best: float) -> Cell:
    # A table has many of these columns: marks would make it wider than a terminal.
    return with_bounds_unmarked(percent(worst, digits=0), Bounds(worst, best, nan, nan))


def level_means(group: Group, scores: Floats) -> dict[Any, float]:
    """Means of scores, shape [seeds, questions], by level."""
    by_question = scores.mean(axis=0)
    at = np.array(group.levels, dtype=object)
    return {level: float(by_question[at == level].mean()) for level in level_headings(group)}


def _pass_cell(group: Group, method: str) -> Cell:
    if not group.present(method, k=PASS_K):
        # Fewer samples than pass@10 needs are no gap that a command could fill.
        return words("–" if group.having(f"samples/{group.split}/{method}") else MISSING)
    estimate = score(group.table(method, k=PASS_K), group.clusters)
    cell = Cell(percent(estimate.value).text, 100 * estimate.value, 100 * estimate.low, 100 * estimate.high)
    return with_bounds(cell, accuracy_bounds(group, method, PASS_K))


@once
def group_recovery(group: Group, method: str) -> Recovery | None:
    """PGR of a method over the seeds that have it, the floor and the ceiling; None if no seed has all three.

    With its bounds where responses of any of them were not graded.
    """
    ends = group.bounds()
    if ends is None:
        return None
    floor, ceiling = ends
    runs = group.present(floor, method, ceiling)
    if not runs:
        return None
    worst, best = (
        [table(name, runs=runs) for name in (floor, method, ceiling)]
        for table in (group.table, group.best_table)
    )
    pgr = recovery(worst[0], worst[1], worst[2], group.clusters)
    if not pgr.resolved or all(map(np.array_equal, worst, best)):
        return pgr
    bounds = bounded_recovery(worst, best, group.clusters)
    return replace(pgr, ratio=replace(pgr.ratio, bounds=bounds))


def share_of(part: float, whole: float) -> float:
    """Part / whole; nan for 0 / 0."""
    return part / whole if whole else nan
