"""The figure of Stage I (the paper's Figure 4): accuracy over iterations for each weak model, Stage II beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.groups import Group
from w2s_core.statistics import Estimate, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = {
    "weak": "#D55E00",
    "icl": "#0072B2",
    "hybrid": "#009E73",
    "dpo": "#E78AC3",
    "orpo": "#4B2E63",
    "floor": "#767676",
    "ceiling": "#000000",
}
"""One colour a method, in every figure: distinct for colour-blind eyes (after Okabe and Ito); markers differ too."""

MARKERS: Final = {"weak": "o", "icl": "s", "hybrid": "D", "dpo": "^", "orpo": "v"}
_LINES: Final = {"weak": "weak-ft", "icl": "icl-ft", "hybrid": "hybrid-ft"}
_START: Final = {"weak": "full_weak_ft", "icl": "weak_icl"}
_STYLE: Final[Any] = {
    "font.size": 8,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "svg.hashsalt": "w2s",  # names inside an SVG are else drawn at random
    "svg.fonttype": "none",
}
_PANEL: Final = (2.35, 2.5)  # inches; one panel alone gets a column's width
_SINGLE: Final = (3.4, 2.8)


def stage_one_figure(groups: Sequence[Group]) -> "Figure":
    """One panel a weak model: lines of weak-ft, icl-ft, hybrid-ft over iterations, floor and ceiling, Stage II marks.

    Iteration 0 of the weak line is full weak FT, of the icl line weak ICL. Bars are 95 % intervals.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        width, height = _SINGLE if len(groups) == 1 else (_PANEL[0] * len(groups), _PANEL[1])
        figure = Figure(figsize=(width, height + 0.35), layout="constrained")
        panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for group, panel in zip(groups, panels, strict=True):
            _draw_panel(panel, group)
        panels[0].set_ylabel(f"accuracy on {groups[0].split}, %")
        _add_legend(figure, panels)
    return figure


def save_figure(groups: Sequence[Group], folder: Path, name: str = "stage1") -> list[Path]:
    """Write the figure as `name.png` and `name.svg`; the same scores give the same bytes."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with mpl.rc_context(_STYLE):
        figure = stage_one_figure(groups)
        figure.savefig(paths[0], dpi=200, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def _draw_panel(panel: "Axes", group: Group) -> None:
    last = group.iterations
    for shift, side in zip((-0.08, 0.0, 0.08), _LINES, strict=True):
        _draw_line(panel, group, side, shift, last)
    _mark_m_plus(panel, group, last)
    _draw_level(panel, group, "weak_floor", "floor", (0, (1, 1.5)))
    _draw_level(panel, group, "ceiling", "ceiling", (0, (5, 2)))
    stage_two = [m for m in ("dpo", "orpo") if m in group.planned()]
    for i, method in enumerate(stage_two):
        at = last + 1 + 0.24 * (i - (len(stage_two) - 1) / 2)
        _draw_points(panel, [at], [_estimate(group, method)], method, method.upper(), line="none")
    _draw_axes(panel, group, last, bool(stage_two))


def _draw_line(panel: "Axes", group: Group, side: str, shift: float, last: int) -> None:
    steps = {i: f"{side}_ft_{i}" for i in range(1, last + 1)}
    if side in _START:
        steps = {0: _START[side], **steps}
    places = [i + shift for i in steps]
    _draw_points(panel, places, [_estimate(group, m) for m in steps.values()], side, _LINES[side], line="-")


def _mark_m_plus(panel: "Axes", group: Group, last: int) -> None:
    estimate = _estimate(group, group.m_plus)
    if estimate is not None:
        at = (last + 0.18, 100 * estimate.value)
        panel.text(*at, "M+", color=COLOURS["hybrid"], fontsize=7, va="center", ha="left", zorder=4)


def _draw_points(
    panel: "Axes", places: list[float], found: list[Estimate | None], what: str, label: str, line: str
) -> None:
    """Points with intervals; a missing one leaves a gap."""
    known = [(at, one) for at, one in zip(places, found, strict=True) if one is not None]
    if not known:
        return
    values = [100 * one.value for _, one in known]
    arms = [
        [max(0.0, 100 * (one.value - one.low)) for _, one in known],
        [max(0.0, 100 * (one.high - one.value)) for _, one in known],
    ]
    panel.errorbar(
        [at for at, _ in known],
        values,
        yerr=arms,
        color=COLOURS[what],
        marker=MARKERS[what],
        linestyle=line,
        label=label,
        linewidth=1.3,
        markersize=4,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
        zorder=3,
    )


def _draw_level(panel: "Axes", group: Group, method: str, what: str, dashes: Any) -> None:
    estimate = _estimate(group, method)
    if estimate is None:
        return
    label = "weak floor" if what == "floor" else "strong ceiling"
    panel.axhline(
        100 * estimate.value, color=COLOURS[what], linestyle=dashes, linewidth=1.1, label=label, zorder=2
    )
    panel.axhspan(
        100 * estimate.low, 100 * estimate.high, color=COLOURS[what], alpha=0.10, linewidth=0, zorder=1
    )


def _draw_axes(panel: "Axes", group: Group, last: int, stage_two: bool) -> None:
    ticks = list(range(last + 1)) + [last + 1] * stage_two
    panel.set_xticks(ticks, [str(i) for i in range(last + 1)] + ["Stage II"] * stage_two)
    panel.set_xlim(-0.35, ticks[-1] + 0.45)
    if stage_two:
        panel.axvline(last + 0.55, color="#D0D0D0", linewidth=0.7, zorder=0)
    panel.set_xlabel("Stage I iteration", labelpad=2)
    panel.set_title(f"weak: {group.name}", fontsize=8, pad=4)
    panel.grid(axis="y", color="#E6E6E6", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)


def _add_legend(figure: "Figure", panels: Sequence["Axes"]) -> None:
    """One legend below all panels; a method that any panel shows is in it."""
    shown: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True)) | shown
    order = [*_LINES.values(), "DPO", "ORPO", "weak floor", "strong ceiling"]
    labels = [label for label in order if label in shown]
    figure.legend(
        [shown[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=4 if len(panels) <= 2 else len(labels),
        frameon=False,
        fontsize=7.5,
        handlelength=1.8,
        columnspacing=1.0,
        handletextpad=0.5,
    )


def _estimate(group: Group, method: str) -> Estimate | None:
    return score(group.table(method), group.clusters) if group.present(method) else None
