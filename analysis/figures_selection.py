"""Figures of the labels: precision against coverage of each set, and both and final accuracy over the thresholds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from analysis.writing.figures import (
    COLOURS,
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from analysis.reading.groups import Group, accuracy_estimate
from analysis.reading.labels import SetQuality, label_quality_over_seeds
from analysis.weak_to_strong.selection import quality_of_sets
from analysis.reading.study import Study
from analysis.weak_to_strong.thresholds import THRESHOLDS, Series, series_of
from w2s_core.statistics import Estimate
from w2s_core.statistics.estimates import nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS: Final[dict[str, tuple[str, str]]] = {
    "weak": ("weak", "weak side"),
    "icl": ("icl", "ICL side"),
    "agreed": ("hybrid", "agreed"),
    "dropped": ("floor", "dropped"),
}
_SHIFTS: Final = {"weak": -2.5, "icl": 2.5}
"""Both sides cover everything: they are drawn beside each other, in points of coverage."""


def selection_figure(groups: Sequence[Group]) -> "Figure | None":
    """One panel a weak model: precision of each labelled set against its coverage; the number is the iteration."""
    found = {group.name: quality_of_sets(group) for group in groups}
    groups = [group for group in groups if any(found[group.name].values())]
    if not groups:
        return None
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            for name, quality in found[group.name].items():
                if quality is not None:
                    _draw_set(panel, name, quality)
            panel.set_xlim(-4, 113)
            panel.set_ylim(-3, 105)
            panel.set_xlabel("coverage of train_2, %", labelpad=2)
            panel.set_title(panel_title(group), fontsize=8, pad=4)
            add_grid(panel)
        label_lines(panels[0], "label precision, %")
        add_legend(figure, panels.flat, [label for _, label in _KINDS.values()])
    return figure


def _draw_set(panel: "Axes", name: str, quality: SetQuality) -> None:
    side, _, number = name.rpartition("_")
    if side not in _KINDS or quality.precision.value != quality.precision.value:
        return
    what, label = _KINDS[side]
    at = 100 * quality.coverage + _SHIFTS.get(side, 0)
    draw_points(panel, [at], [quality.precision], what, label, "none")
    # D_weak and D_icl are number 0: the sides of an iteration are the answers after the one before
    panel.annotate(
        number,
        (at, 100 * quality.precision.value),
        xytext=(3.5, 2) if int(number) else (-3.5, 2),
        ha="left" if int(number) else "right",
        textcoords="offset points",
        fontsize=6.5,
        color=COLOURS[what],
    )


def threshold_figure(study: Study) -> "Figure | None":
    """A row a threshold, a panel a weak model: precision, coverage (Stage I) and accuracies over the threshold."""
    rows = [series for field in THRESHOLDS if (series := series_of(study, field))]
    if not rows:
        return None
    width = max(map(len, rows))
    with style():
        figure, panels = new_figure(width, [1.0] * len(rows))
        for line, series in zip(panels, rows, strict=True):
            for panel, one in zip(line, series, strict=False):
                _draw_series(panel, one)
            for panel in line[len(series) :]:
                panel.set_axis_off()
            label_lines(line[: len(series)], f"%, judged on {series[0].groups[0].split}")
        add_legend(figure, panels.flat)
    return figure


def _draw_series(panel: "Axes", series: Series) -> None:
    lines: list[tuple[str, str, str, list[Estimate | None]]] = [
        ("hybrid", "M+ accuracy", "-", [accuracy_estimate(one, one.m_plus) for one in series.groups]),
        ("dpo", "DPO accuracy", "-", [accuracy_estimate(one, "dpo") for one in series.groups]),
        ("orpo", "ORPO accuracy", "-", [accuracy_estimate(one, "orpo") for one in series.groups]),
    ]
    if series.field == "stage1.consistency":  # it decides the first agreed set; the last hangs on much else
        found = [label_quality_over_seeds(group, "agreed_1") for group in series.groups]
        lines.append(
            ("precision", "label precision", "--", [one.precision if one else None for one in found])
        )
        shares = [nothing(value=one.coverage) if one else None for one in found]
        lines.append(("coverage", "coverage", ":", shares))
    step = 0.012 * (series.values[-1] - series.values[0])
    for i, (what, label, dashes, values) in enumerate(lines):
        shift = step * (i - 1) if i < 3 else 0.0
        draw_points(panel, [value + shift for value in series.values], values, what, label, dashes)
    panel.set_xlabel(THRESHOLDS[series.field], labelpad=2)
    panel.set_title(f"weak: {series.weak}", fontsize=8, pad=4)
    add_grid(panel)
