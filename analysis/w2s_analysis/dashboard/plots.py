"""Dot plots with intervals: metrics of the shown runs, and a paired difference by level."""

from collections.abc import Sequence
from math import isnan
from typing import Any, Final

from bokeh.models import ColumnDataSource, HoverTool, Span
from bokeh.plotting import figure

from w2s_analysis.dashboard.catalogue import Snapshot
from w2s_analysis.dashboard.columns import ACCURACY, COVERAGE, PASS, PRECISION, colours
from w2s_analysis.dashboard.look import DOT
from w2s_analysis.reading.pair import Pair, Part
from w2s_analysis.writing.notes import ONE_SEED

MOST_RUNS: Final = 60
_TOP_PX: Final = 110
_ROW_PX: Final = 24
_DOT_PX: Final = 9
_SPREAD: Final = 0.75
"""Of a row's height, that its dots may take."""
_MARKERS: Final = {ACCURACY: "circle", PASS: "diamond", PRECISION: "square", COVERAGE: "triangle"}


def runs_plot(snapshot: Snapshot, runs: Sequence[str], columns: Sequence[str]) -> Any:
    """One line a run, in the order given, one dot a result; bars are 95 % intervals. At most 60 runs."""
    rows = list(runs[:MOST_RUNS])
    row_px = _ROW_PX + _DOT_PX * (len(columns) - 1)
    shades = colours(snapshot.columns)
    plot = _figure(rows, f"per cent, with 95 % intervals over questions ({ONE_SEED})", row_px)
    for i, column in enumerate(columns):
        metric = snapshot.columns[column]
        shift = _SPREAD * ((len(columns) - 1) / 2 - i) / len(columns)  # the first on top
        points = [(run, *estimate) for run in rows if (estimate := snapshot.value(run, column)) is not None]
        data = {
            "run": [run for run, *_ in points],
            "at": [(run, shift) for run, *_ in points],
            "value": [value for _, value, _, _ in points],
            "low": [value if isnan(low) else low for _, value, low, _ in points],
            "high": [value if isnan(high) else high for _, value, _, high in points],
            "metric": [metric.full_title] * len(points),
        }
        source = ColumnDataSource(data)
        _draw(plot, source, shades[column], _MARKERS[metric.kind], metric.full_title)
    if columns and rows:
        _legend_above(plot)
    return plot


def levels_plot(pair: Pair) -> Any:
    """The difference B minus A over all questions and at each level, in percentage points."""
    parts: list[tuple[str, Part]] = [("all questions", pair.whole)]
    parts += [(f"level {part.level}", part) for part in pair.levels]
    plot = _figure([name for name, _ in parts], "B minus A, percentage points, with 95 % intervals")
    resolved = [(name, part.difference) for name, part in parts if not isnan(part.difference.low)]
    data = {
        "run": [name for name, _ in resolved],
        "at": [name for name, _ in resolved],
        "value": [100 * difference.value for _, difference in resolved],
        "low": [100 * difference.low for _, difference in resolved],
        "high": [100 * difference.high for _, difference in resolved],
        "metric": ["B - A"] * len(resolved),
    }
    _draw(plot, ColumnDataSource(data), DOT, "circle", None)
    plot.add_layout(Span(location=0, dimension="height", line_color="#767676", line_dash="dashed"))
    return plot


def _figure(rows: Sequence[str], label: str, row_px: int = _ROW_PX) -> Any:
    plot = figure(
        y_range=list(reversed(rows)),
        height=_TOP_PX + row_px * max(1, len(rows)),
        sizing_mode="stretch_width",
        x_axis_label=label,
        toolbar_location=None,
        tools="",
        min_width=300,
    )
    plot.add_tools(HoverTool(tooltips=[("", "@run"), ("@metric", "@value{0.0} [@low{0.0}, @high{0.0}]")]))
    plot.ygrid.grid_line_color = None
    plot.xgrid.grid_line_color = "#E6E6E6"
    plot.outline_line_color = None
    for axis in (plot.xaxis, plot.yaxis):
        axis.major_label_text_font_size = "12px"
        axis.axis_line_color = "#9aa3ab"
        axis.major_tick_line_color = None
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
    return plot


def _legend_above(plot: Any) -> None:
    legend = plot.legend[0]
    legend.orientation, legend.ncols, legend.location = "horizontal", 4, "left"
    legend.border_line_alpha, legend.label_text_font_size, legend.click_policy = 0, "12px", "hide"
    plot.add_layout(legend, "above")


def _draw(plot: Any, source: Any, shade: str, marker: str, label: str | None) -> None:
    legend = {"legend_label": label} if label else {}
    plot.segment("low", "at", "high", "at", source=source, line_color=shade, line_width=2, **legend)
    plot.scatter(
        "value", "at", source=source, size=8, marker=marker, color=shade, line_color="white", **legend
    )
