"""The tab that draws results of the runs in the table."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from analysis.dashboard.catalogue import Catalogue, Snapshot
from analysis.dashboard.columns import M_PLUS, default_metrics, in_order, title
from analysis.dashboard.look import CHOOSER, html
from analysis.dashboard.plots import MOST_RUNS, runs_plot

_AT_FIRST = (f"/{M_PLUS}", "/dpo", "/orpo")


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
        told = "The runs of the table, as it is filtered and sorted. A click in the legend hides a result."
        if len(rows) > MOST_RUNS:
            told = f"The first {MOST_RUNS} of {len(rows):,} runs in the table: filter or sort it to see others here."
        plot = runs_plot(self._catalogue.snapshot, rows, metrics)
        self._body[:] = [
            html(f"<p class='quiet'>{told}</p>"),
            pn.pane.Bokeh(plot, sizing_mode="stretch_width"),
        ]

    def _offer(self, snapshot: Snapshot) -> None:
        runs = snapshot.runs.values()
        metrics = in_order({metric for run in runs for metric in run.metrics})
        options = {title(metric): metric for metric in metrics}
        if self.metrics.options != options:
            self.metrics.options = options
        if not self.metrics.value:
            headline = default_metrics(run.metrics for run in runs)
            self.metrics.value = [metric for metric in headline if metric.endswith(_AT_FIRST)]
