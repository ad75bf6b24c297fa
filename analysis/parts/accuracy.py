"""Stage I of one experiment over its seeds (the paper's Figure 4 as a table): accuracy of every method, and PGR."""

from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.reading.groups import PASS_K, Group, accuracy_estimate, once
from analysis.reading.titles import method_name, ordered
from analysis.weak_to_strong.published import _add_published
from analysis.writing.notes import footer, smallest_gain
from analysis.writing.table import MISSING, Cell, Table, percent, percent_interval, ratio_interval, words
from w2s_core.errors import UserError
from w2s_core.statistics import Recovery, recovery, score

Floats = npt.NDArray[np.float64]
SAMPLED = f"pass@{PASS_K}"


def accuracy_table(group: Group) -> Table:
    """Accuracy, pass@10, accuracy by level and PGR of every method that the runs were to evaluate."""
    headings = level_headings(group)
    planned = ordered(group.planned())
    columns = ["method", "accuracy", SAMPLED, *headings.values(), "PGR"]
    table = Table(title(group, f"Accuracy on {group.split}, per cent"), columns, name="stage1", of=group.name)
    table.spans = ("accuracy", SAMPLED, "PGR")
    unresolved: set[str] = set()
    for method in planned:
        row, pgr = _accuracy_row(group, method, headings)
        table.rows.append(row)
        unresolved |= {pgr.reason} if pgr is not None and not pgr.resolved else set()
    if not any(SAMPLED in row for row in table.rows):
        table.columns.remove(SAMPLED)
    _add_published(table, group, planned)
    table.notes = [*sorted(unresolved), *table.notes, *footer([group], smallest_gain(group), counts=True)]
    return table


def level_headings(group: Group) -> dict[Any, str]:
    """The levels of the questions, easiest first, and what their columns are called."""
    levels = {level for level in group.levels if level is not None}
    ranked = sorted(levels, key=lambda level: (isinstance(level, str), level))
    return {level: f"L{level}" if isinstance(level, int) else str(level) for level in ranked}


def title(group: Group, what: str) -> str:
    """A table's title."""
    return f"{what} · weak {group.name}, strong {group.strong}"


def named_method(group: Group, method: str) -> str:
    """A method's name, with the number of its seeds where some lack it."""
    runs = group.present(method)
    name = method_name(method, group.m_plus)
    return f"{name} ({len(runs)}/{len(group.runs)} seeds)" if 0 < len(runs) < len(group.runs) else name


def accuracy_of(group: Group, method: str) -> Cell:
    """A method's accuracy with its interval, or that it is missing."""
    estimate = accuracy_estimate(group, method)
    return percent_interval(estimate) if estimate is not None else words(MISSING)


def _accuracy_row(
    group: Group, method: str, headings: dict[Any, str]
) -> tuple[dict[str, Cell], Recovery | None]:
    row = {"method": words(named_method(group, method)), "accuracy": accuracy_of(group, method)}
    if method in group.planned("samples"):
        row[SAMPLED] = _pass_cell(group, method)
    if not group.present(method):
        return row, None
    means = level_means(group, method)
    row |= {heading: percent(means[level], digits=0) for level, heading in headings.items()}
    pgr = None
    if method not in ("weak_floor", "ceiling"):
        pgr = group_recovery(group, method)
        row["PGR"] = ratio_interval(pgr.ratio) if pgr is not None else words("–")
    return row, pgr


def level_means(group: Group, method: str) -> dict[Any, float]:
    """Accuracy of a method by level."""
    by_question = group.table(method).mean(axis=0)
    at = np.array(group.levels, dtype=object)
    return {level: float(by_question[at == level].mean()) for level in level_headings(group)}


def _pass_cell(group: Group, method: str) -> Cell:
    if not group.present(method, k=PASS_K):
        return words(MISSING)
    try:
        estimate = score(group.table(method, k=PASS_K), group.clusters)
    except UserError:
        return words("–")  # fewer samples were drawn than pass@10 needs
    return Cell(percent(estimate.value).text, 100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


@once
def group_recovery(group: Group, method: str) -> Recovery | None:
    """PGR of a method over the seeds that have it, the floor and the ceiling; None if no seed has all three."""
    parts = ("weak_floor", method, "ceiling")
    runs = group.present(*parts)
    if not runs:
        return None
    floor, system, ceiling = (group.table(one, runs=runs) for one in parts)
    return recovery(floor, system, ceiling, group.clusters)


def share_of(part: float, whole: float) -> float:
    """Part / whole; nan for 0 / 0."""
    return part / whole if whole else nan
