"""The tab that draws results of the runs in the table."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from w2s_analysis.dashboard.catalogue import Catalogue, Snapshot
from w2s_analysis.dashboard.look import CHOOSER, by_title, html
from w2s_analysis.dashboard.plots import MOST_RUNS, runs_plot


class PlotView:
    """Dots with intervals for the runs that `rows` gives: those of the table, as it is filtered and sorted."""

    def __init__(self, catalogue: Catalogue, rows: Callable[[], list[str]]) -> None:
        self._catalogue, self._rows = catalogue, rows
        self.metrics = pmui.MultiChoice(label="Results", **CHOOSER)
        self._body = pn.Column(sizing_mode="stretch_width")
        self._offer(catalogue.snapshot)
        self.metrics.param.watch(lambda _: self.draw(), "value")

    def layout(self) -> Any:
        """The tab's content."""
        return pn.Column(self.metrics, self._body, sizing_mode="stretch_width", margin=(12, 0))

    def refresh(self, snapshot: Snapshot) -> None:
        """Offer the results that there are now."""
        self._offer(snapshot)

    def draw(self) -> None:
        """Draw anew."""
        rows, metrics = self._rows(), list(self.metrics.value)
        if not rows or not metrics:
            self._body[:] = [
                html("<p class='quiet'>Choose a result; no filter of the table may hide all runs.</p>")
            ]
            return
        caption = "The runs of the table, as it is filtered and sorted. A click in the legend hides a result."
        if len(rows) > MOST_RUNS:
            caption = f"The first {MOST_RUNS} of {len(rows):,} runs in the table: filter or sort it to see others here."
        plot = runs_plot(self._catalogue.snapshot, rows, metrics)
        self._body[:] = [
            html(f"<p class='quiet'>{caption}</p>"),
            pn.pane.Bokeh(plot, sizing_mode="stretch_width"),
        ]

    def _offer(self, snapshot: Snapshot) -> None:
        options = by_title(snapshot.columns.values())
        if self.metrics.options != options:
            self.metrics.options = options
        if not self.metrics.value:
            self.metrics.value = _first_choice(snapshot)


def _first_choice(snapshot: Snapshot) -> list[str]:
    """What the methods reach; where no model has that role, all results that the table shows at first."""
    methods = [name for name in snapshot.default_columns if snapshot.columns[name].role == "method"]
    return methods or snapshot.default_columns
