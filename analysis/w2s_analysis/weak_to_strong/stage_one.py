"""Stage I: accuracy of every model with the paper's figures, and its figure over iterations (the paper's Figure 4)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from w2s_analysis.parts.accuracy import accuracy_table
from w2s_analysis.reading.groups import Group, accuracy_estimate
from w2s_analysis.weak_to_strong.looks import ALL, COLOURS
from w2s_analysis.weak_to_strong.published import add_published
from w2s_analysis.weak_to_strong.titles import METHODS, iterations, m_plus, stage_two
from w2s_analysis.writing.figures import (
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from w2s_analysis.writing.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_LINES: Final = {"weak": "weak-ft", "icl": "icl-ft", "hybrid": "hybrid-ft"}

_START: Final = {"weak": "full_weak_ft", "icl": "weak_icl"}


def stage_one_table(group: Group) -> Table:
    """Accuracy, pass@10, accuracy by level and PGR of every model, beside the paper's figures."""
    return accuracy_table(group, "stage1", add_published)


def stage_one_figure(groups: Sequence[Group]) -> "Figure":
    """One panel a weak model: lines of weak-ft, icl-ft, hybrid-ft over iterations, floor and ceiling, Stage II marks.

    Iteration 0 of the weak line is full weak FT, of the icl line weak ICL. Bars are 95 % intervals.
    """
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            _draw_panel(panel, group)
        label_lines(panels[0], f"accuracy on {groups[0].split}, %")
        order = [*_LINES.values(), *METHODS.values(), "weak floor", "strong ceiling"]
        add_legend(figure, panels.flat, order)
    return figure


def _draw_panel(panel: "Axes", group: Group) -> None:
    last = iterations(group)
    for shift, side in zip((-0.08, 0.0, 0.08), _LINES, strict=True):
        _draw_line(panel, group, side, shift, last)
    _mark_m_plus(panel, group, last)
    _draw_level(panel, group, "weak_floor", "floor", (0, (1, 1.5)))
    _draw_level(panel, group, "ceiling", "ceiling", (0, (5, 2)))
    methods = stage_two(group)
    for i, method in enumerate(methods):
        at = last + 1 + 0.24 * (i - (len(methods) - 1) / 2)
        draw_points(
            panel, [at], [accuracy_estimate(group, method)], ALL[method], METHODS[method], line="none"
        )
    _draw_axes(panel, group, last, bool(methods))


def _draw_line(panel: "Axes", group: Group, side: str, shift: float, last: int) -> None:
    steps = {i: f"{side}_ft_{i}" for i in range(1, last + 1)}
    if side in _START:
        steps = {0: _START[side], **steps}
    places = [i + shift for i in steps]
    draw_points(panel, places, [accuracy_estimate(group, m) for m in steps.values()], ALL[side], _LINES[side])


def _mark_m_plus(panel: "Axes", group: Group, last: int) -> None:
    estimate = accuracy_estimate(group, m_plus(group))
    if estimate is not None:
        at = (last + 0.18, 100 * estimate.value)
        panel.text(*at, "M+", color=COLOURS["hybrid"], fontsize=7, va="center", ha="left", zorder=4)


def _draw_level(panel: "Axes", group: Group, method: str, bound: str, dashes: Any) -> None:
    estimate = accuracy_estimate(group, method)
    if estimate is None:
        return
    label = "weak floor" if bound == "floor" else "strong ceiling"
    panel.axhline(
        100 * estimate.value, color=COLOURS[bound], linestyle=dashes, linewidth=1.1, label=label, zorder=2
    )
    panel.axhspan(
        100 * estimate.low, 100 * estimate.high, color=COLOURS[bound], alpha=0.10, linewidth=0, zorder=1
    )


def _draw_axes(panel: "Axes", group: Group, last: int, has_stage_two: bool) -> None:
    ticks = list(range(last + 1)) + [last + 1] * has_stage_two
    panel.set_xticks(ticks, [str(i) for i in range(last + 1)] + ["Stage II"] * has_stage_two)
    panel.set_xlim(-0.35, ticks[-1] + 0.45)
    if has_stage_two:
        panel.axvline(last + 0.55, color="#D0D0D0", linewidth=0.7, zorder=0)
    panel.set_xlabel("Stage I iteration", labelpad=2)
    panel.set_title(panel_title(group), fontsize=8, pad=4)
    add_grid(panel)
