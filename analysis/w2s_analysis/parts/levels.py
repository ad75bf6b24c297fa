"""Accuracy by difficulty, and whether what a recipe proposes passes the ceiling on the hardest level."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from w2s_analysis.parts.accuracy import level_headings, named_method, title
from w2s_analysis.reading.contrasts import difference
from w2s_analysis.reading.groups import Group, accuracy_bounds
from w2s_analysis.writing.figures import (
    CEILING,
    FLOOR,
    LOOKS,
    Look,
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from w2s_analysis.writing.notes import ONE_SEED, footer, smallest_change, smallest_effect
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    count,
    percent_interval,
    points_interval,
    probability,
    with_bounds,
    words,
)
from w2s_core.statistics import Bounds, Estimate, bounded_score, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Mask = npt.NDArray[np.bool_]
SHIFT = 0.08
"""Between the points of neighbouring lines, in levels."""


def bounded_methods(group: Group) -> list[str]:
    """Floor, what the recipe proposes, and ceiling, with the baselines: the models of the table."""
    return group.with_role("floor", "baseline", "method", "ceiling")


def masks(group: Group) -> dict[Any, Mask]:
    """Which questions have each level, easiest first."""
    at = np.empty(len(group.levels), dtype=object)
    at[:] = group.levels
    return {level: np.asarray(at == level, dtype=bool) for level in level_headings(group)}


def level_scores(group: Group, method: str) -> dict[Any, Estimate]:
    """Accuracy of a method by level, with intervals; empty where it is missing."""
    if not group.present(method):
        return {}
    scores = group.table(method)
    return {level: score(scores[:, mask], group.clusters_at(mask)) for level, mask in masks(group).items()}


def level_bounds(group: Group, method: str) -> dict[Any, Bounds]:
    """The bounds of the same, wherever responses were not graded."""
    if accuracy_bounds(group, method) is None:
        return {}
    worst, best = group.table(method), group.best_table(method)
    return {
        level: bounded_score(worst[:, mask], best[:, mask], group.clusters_at(mask))
        for level, mask in masks(group).items()
    }


def level_tables(
    group: Group, methods_of: Callable[[Group], list[str]] = bounded_methods, remark: str = ""
) -> list[Table]:
    """Accuracy by level, and the difference from the ceiling by level; none without levels.

    Args:
        methods_of: the models of the first table.
        remark: a recipe's own note on the second table.
    """
    if not level_headings(group):
        return []
    tables = [_accuracy_by_level(group, methods_of(group)), *_against_ceiling(group, remark)]
    return [table for table in tables if table.rows]


def _accuracy_by_level(group: Group, methods: Sequence[str]) -> Table:
    headings = level_headings(group)
    table = Table(
        title(group, f"Accuracy on {group.split} by level, per cent"),
        ["method", *headings.values()],
        spans=tuple(headings.values()),
        name="levels",
        of=group.name,
    )
    by_method = {method: level_scores(group, method) for method in methods}
    for method, by_level in by_method.items():
        bounds = level_bounds(group, method)
        cells = {
            headings[level]: with_bounds(percent_interval(estimate), bounds.get(level))
            for level, estimate in by_level.items()
        }
        missing = {} if by_level else dict.fromkeys(headings.values(), words(MISSING))
        table.rows.append({"method": words(named_method(group, method)), **cells, **missing})
    sizes = {headings[level]: count(int(mask.sum())) for level, mask in masks(group).items()}
    table.rows.append({"method": words("questions"), **sizes})
    scores = [estimate for by_level in by_method.values() for estimate in by_level.values()]
    table.notes = footer([group], smallest_change("The accuracy of a method on one level", scores))
    return table


def _against_ceiling(group: Group, remark: str) -> list[Table]:
    ceiling = next(iter(group.with_role("ceiling")), "")
    methods = [method for method in group.with_role("method") if ceiling and group.present(method, ceiling)]
    if not methods:
        return []
    names = {method: f"{group.title(method)} minus ceiling" for method in methods}
    table = Table(
        title(group, f"Difference from the ceiling on {group.split} by level, points"),
        ["level", "questions", *names.values()],
        spans=tuple(names.values()),
        name="levels_ceiling",
        of=group.name,
    )
    gaps = ceiling_gaps(group, methods, ceiling)
    for level, mask in masks(group).items():
        cells = {names[method]: points_interval(gaps[method][level]) for method in methods}
        table.rows.append({"level": words(str(level)), "questions": count(int(mask.sum())), **cells})
    table.notes = [hardest_answer(group, gaps), *([remark] if remark else [])]
    hardest = [by_level[next(reversed(by_level))] for by_level in gaps.values()]
    table.notes += footer([group], smallest_effect("A difference on the hardest level", hardest))
    return [table]


def ceiling_gaps(group: Group, methods: list[str], ceiling: str) -> dict[str, dict[Any, Estimate | None]]:
    """Each method minus the ceiling, paired by question, for each level."""
    return {
        method: {
            level: difference([group], method, ceiling, chosen=mask) for level, mask in masks(group).items()
        }
        for method in methods
    }


def hardest_answer(group: Group, gaps: dict[str, dict[Any, Estimate | None]]) -> str:
    """Whether each method passes the ceiling on the hardest level, in words.

    It passes where the interval of the difference lies above 0, does not pass where it lies below 0, and is not
    resolved otherwise.
    """
    level = list(masks(group))[-1]
    parts = []
    for method, by_level in gaps.items():
        effect = by_level[level]
        if effect is None or isnan(effect.low):
            verdict = "cannot be told"
        elif effect.low > 0:
            verdict = "passes it"
        else:
            verdict = "does not pass it" if effect.high < 0 else "not resolved"
        mark = f"; {ONE_SEED}" if effect is not None and effect.seeds == 1 else ""
        parts.append(
            f"{group.title(method)} {verdict} ({points_interval(effect).text} points, "
            f"p = {_plain(probability(effect))}{mark})"
        )
    return f"The ceiling on the hardest level ({level}): {'; '.join(parts)}. One test each, not corrected."


def _plain(cell: Cell) -> str:
    return cell.text.removeprefix("= ")


@dataclass(frozen=True)
class Line:
    """How the figure draws a model: the name in the legend, colour and marker, dashes."""

    method: str
    name: str
    look: Look
    dashes: str = "-"


def role_lines(group: Group) -> list[Line]:
    """Floor, what the recipe proposes, and ceiling."""
    floors, methods, ceilings = (group.with_role(role) for role in ("floor", "method", "ceiling"))
    return [
        *(Line(name, group.short_title(name), FLOOR, ":") for name in floors),
        *(Line(name, group.short_title(name), LOOKS[i % len(LOOKS)]) for i, name in enumerate(methods)),
        *(Line(name, group.short_title(name), CEILING, "--") for name in ceilings),
    ]


def level_figure(
    groups: Sequence[Group], lines_of: Callable[[Group], list[Line]] = role_lines
) -> "Figure | None":
    """One panel a subject: accuracy by level of floor, methods and ceiling. None without levels."""
    groups = [group for group in groups if level_headings(group)]
    if not groups:
        return None
    lines = {group.name: lines_of(group) for group in groups}
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            _draw_levels(panel, group, lines[group.name])
        label_lines(panels[0], f"accuracy on {groups[0].split}, %")
        order = dict.fromkeys(line.name for part in lines.values() for line in part)
        add_legend(figure, panels.flat, list(order))
    return figure


def _draw_levels(panel: "Axes", group: Group, lines: Sequence[Line]) -> None:
    headings = level_headings(group)
    for i, line in enumerate(lines):
        by_level = level_scores(group, line.method)
        if by_level:
            shift = round(SHIFT * (i - (len(lines) - 1) / 2), 2)
            places = [at + shift for at in range(len(headings))]
            draw_points(
                panel, places, [by_level[level] for level in headings], line.look, line.name, line.dashes
            )
    panel.set_xticks(range(len(headings)), [str(level) for level in headings])
    panel.set_ylim(-3, 103)
    panel.set_xlabel("level", labelpad=2)
    panel.set_title(panel_title(group), fontsize=8, pad=4)
    add_grid(panel)
