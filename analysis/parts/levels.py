"""Accuracy by difficulty (the paper's Figure 6), and whether Stage II passes the ceiling on the hardest level."""

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from analysis.parts.accuracy import level_headings, named_method, title
from analysis.reading.contrasts import difference
from analysis.reading.groups import Group
from analysis.reading.titles import method_name
from analysis.weak_to_strong.stage_two import METHODS
from analysis.writing.figures import (
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from analysis.writing.notes import footer, smallest_change, smallest_effect
from analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    count,
    percent_interval,
    points_interval,
    probability,
    words,
)
from w2s_core.statistics import Estimate, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Mask = npt.NDArray[np.bool_]
ALL = "all"
PAPER = "The paper reports that ORPO passes the ceiling on MATH levels 4 and 5 (its Figure 6, bars without numbers)."


def shown_methods(group: Group) -> list[str]:
    """The methods that the paper's Figure 6 compares, and the baselines that they start from."""
    wanted = ["weak_floor", "full_weak_ft", "weak_icl", group.m_plus, *METHODS, "ceiling"]
    return [method for method in wanted if method in group.planned()]


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


def level_tables(group: Group) -> list[Table]:
    """Accuracy by level, and the difference between Stage II and the ceiling by level; none without levels."""
    if not level_headings(group):
        return []
    return [_accuracy_by_level(group), *_against_ceiling(group)]


def _accuracy_by_level(group: Group) -> Table:
    headings = level_headings(group)
    table = Table(
        title(group, f"Accuracy on {group.split} by level, per cent"),
        ["method", *headings.values()],
        spans=tuple(headings.values()),
        name="levels",
        of=group.name,
    )
    by_method = {method: level_scores(group, method) for method in shown_methods(group)}
    for method, found in by_method.items():
        cells = {name: percent_interval(found[level]) for level, name in headings.items()} if found else {}
        missing = {} if found else dict.fromkeys(headings.values(), words(MISSING))
        table.rows.append({"method": words(named_method(group, method)), **cells, **missing})
    sizes = {headings[level]: count(int(mask.sum())) for level, mask in masks(group).items()}
    table.rows.append({"method": words("questions"), **sizes})
    scores = [one for found in by_method.values() for one in found.values()]
    table.notes = footer([group], smallest_change("The accuracy of a method on one level", scores))
    return table


def _against_ceiling(group: Group) -> list[Table]:
    methods = [method for method in (group.m_plus, *METHODS) if group.present(method, "ceiling")]
    if not methods:
        return []
    names = {method: f"{method_name(method, group.m_plus)} minus ceiling" for method in methods}
    table = Table(
        title(group, f"Difference from the ceiling on {group.split} by level, points"),
        ["level", "questions", *names.values()],
        spans=tuple(names.values()),
        name="levels_ceiling",
        of=group.name,
    )
    gaps = ceiling_gaps(group, methods)
    for level, mask in masks(group).items():
        cells = {names[method]: points_interval(gaps[method][level]) for method in methods}
        table.rows.append({"level": words(str(level)), "questions": count(int(mask.sum())), **cells})
    table.notes = [hardest_answer(group, gaps), PAPER]
    hardest = [found[next(reversed(found))] for found in gaps.values()]
    table.notes += footer([group], smallest_effect("A difference on the hardest level", hardest))
    return [table]


def ceiling_gaps(group: Group, methods: list[str]) -> dict[str, dict[Any, Estimate | None]]:
    """Each method minus the ceiling, paired by question, for each level."""
    return {
        method: {
            level: difference([group], method, "ceiling", chosen=mask) for level, mask in masks(group).items()
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
    for method, found in gaps.items():
        effect = found[level]
        if effect is None or isnan(effect.low):
            verdict = "cannot be told"
        elif effect.low > 0:
            verdict = "passes it"
        else:
            verdict = "does not pass it" if effect.high < 0 else "not resolved"
        parts.append(
            f"{method_name(method, group.m_plus)} {verdict} ({points_interval(effect).text} points, "
            f"p = {_plain(probability(effect))})"
        )
    return f"The ceiling on the hardest level ({level}): {'; '.join(parts)}. One test each, not corrected."


def _plain(cell: Cell) -> str:
    return cell.text.removeprefix("= ")


_NAMES: Final = {
    "weak_floor": ("floor", "weak floor"),
    "M_plus": ("hybrid", "M+"),
    "dpo": ("dpo", "DPO"),
    "orpo": ("orpo", "ORPO"),
    "ceiling": ("ceiling", "strong ceiling"),
}


def level_figure(groups: Sequence[Group]) -> "Figure | None":
    """One panel a weak model: accuracy by level of floor, M_plus, DPO, ORPO and ceiling. None without levels."""
    groups = [group for group in groups if level_headings(group)]
    if not groups:
        return None
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            _draw_levels(panel, group)
        label_lines(panels[0], f"accuracy on {groups[0].split}, %")
        add_legend(figure, panels.flat, [name for _, name in _NAMES.values()])
    return figure


def _draw_levels(panel: "Axes", group: Group) -> None:
    headings = level_headings(group)
    shifts = dict(zip(_NAMES, (-0.16, -0.08, 0.0, 0.08, 0.16), strict=True))
    for method, (what, name) in _NAMES.items():
        found = level_scores(group, group.m_plus if method == "M_plus" else method)
        if found:
            places = [i + shifts[method] for i in range(len(headings))]
            line = {"floor": ":", "ceiling": "--"}.get(what, "-")
            draw_points(panel, places, [found[level] for level in headings], what, name, line)
    panel.set_xticks(range(len(headings)), [str(level) for level in headings])
    panel.set_ylim(-3, 103)
    panel.set_xlabel("level", labelpad=2)
    panel.set_title(panel_title(group), fontsize=8, pad=4)
    add_grid(panel)
