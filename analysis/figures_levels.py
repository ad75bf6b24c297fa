"""Figures of accuracy by difficulty (the paper's Figure 6), and of PGR by weak model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from analysis.writing.figures import (
    COLOURS,
    MARKERS,
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from analysis.reading.groups import Group
from analysis.parts.levels import level_scores
from analysis.parts.accuracy import group_recovery, level_headings
from analysis.weak_to_strong.weak_models import NOT_RESOLVED, pgr_methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES: Final = {
    "weak_floor": ("floor", "weak floor"),
    "M_plus": ("hybrid", "M+"),
    "dpo": ("dpo", "DPO"),
    "orpo": ("orpo", "ORPO"),
    "ceiling": ("ceiling", "strong ceiling"),
}
_SHORT: Final = {
    "full_weak_ft": "full\nFT",
    "weak_icl": "weak\nICL",
    "weak": "weak\n-ft",
    "icl": "icl\n-ft",
    "hybrid": "M+",
    "dpo": "DPO",
    "orpo": "ORPO",
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


def pgr_figure(groups: Sequence[Group]) -> "Figure | None":
    """One panel a weak model: PGR of each method with its interval. None where no group has a result."""
    groups = [group for group in groups if group.ids]
    if not groups or not pgr_methods(groups):
        return None
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            _draw_pgr(panel, group, pgr_methods(groups))
        label_lines(panels[0], "performance gap recovered")
    return figure


def _draw_pgr(panel: "Axes", group: Group, methods: Sequence[str]) -> None:
    for at, method in enumerate(methods):
        found = group_recovery(group, method)
        if found is not None and not found.resolved:
            panel.text(0.5, 0.5, NOT_RESOLVED, transform=panel.transAxes, ha="center", fontsize=7.5)
            break
        side = _side(method)
        draw_points(panel, [at], [found.ratio if found else None], side, method, "none", scale=1)
    shown = [_SHORT.get(method, _SHORT.get(method.split("_")[0], method)) for method in methods]
    panel.set_xticks(range(len(methods)), shown, fontsize=6.5)
    panel.set_xlim(-0.5, len(methods) - 0.5)
    for level, dashes in ((0, (0, (1, 1.5))), (1, (0, (5, 2)))):
        colour = COLOURS["floor" if level == 0 else "ceiling"]
        panel.axhline(level, color=colour, linestyle=dashes, linewidth=1.0, zorder=2)
    panel.set_title(panel_title(group), fontsize=8, pad=4)
    add_grid(panel)


def _side(method: str) -> str:
    if method in MARKERS:
        return method
    return {"full_weak_ft": "weak", "weak_icl": "icl"}.get(method, method.split("_")[0])
