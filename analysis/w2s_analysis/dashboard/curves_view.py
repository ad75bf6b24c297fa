"""The tab of training curves: those of several runs over each other."""

from typing import Any, Final

import panel as pn
import panel_material_ui as pmui

from w2s_analysis.dashboard.catalogue import Catalogue, Snapshot
from w2s_analysis.dashboard.columns import PALETTE
from w2s_analysis.dashboard.curves import Training, curve_plots, read_training, training_steps
from w2s_analysis.dashboard.look import CHOOSER, html, text, trouble

MOST: Final = len(PALETTE)
"""Trainings that are drawn: one a colour."""


class CurvesView:
    """Choose runs, and which of their trainings."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.runs = pmui.MultiChoice(label="Runs", **CHOOSER)
        self.steps = pmui.MultiChoice(label="Trainings", **CHOOSER)
        self._body = pn.Column(sizing_mode="stretch_width")
        self._setting = False
        self.refresh(catalogue.snapshot)
        self.runs.param.watch(lambda _: self._offer(), "value")
        self.steps.param.watch(lambda _: self._draw(), "value")
        self._draw()

    def layout(self) -> Any:
        """The tab's content."""
        return pn.Column(self.runs, self.steps, self._body, sizing_mode="stretch_width", margin=(12, 0))

    def refresh(self, snapshot: Snapshot) -> None:
        """Offer the runs that there are now."""
        names = list(snapshot.runs)
        if self.runs.options != names:
            self.runs.value = [name for name in self.runs.value if name in snapshot.runs]
            self.runs.options = names

    def show(self, names: list[str]) -> None:
        """Draw some runs where none is chosen yet."""
        if names and not self.runs.value:
            self.runs.value = names

    def _trainings(self) -> dict[str, dict[str, str]]:
        """Keys by step, by chosen run."""
        runs = self._catalogue.snapshot.runs
        chosen = [name for name in self.runs.value if name in runs]
        return {name: training_steps(self._catalogue.store, runs[name]) for name in chosen}

    def _offer(self) -> None:
        """The trainings of the chosen runs; what was chosen of them, or as many of the last as can be drawn."""
        by_run = self._trainings()
        steps = list(dict.fromkeys(step for trainings in by_run.values() for step in trainings))
        kept = [step for step in self.steps.value if step in steps]
        self._setting = True
        self.steps.options = steps
        self.steps.value = kept or steps[: max(1, MOST // max(1, len(by_run)))]
        self._setting = False
        self._draw()

    def _draw(self) -> None:
        if self._setting:
            return
        wanted = [
            (run, step, trainings[step])
            for run, trainings in self._trainings().items()
            for step in self.steps.value
            if step in trainings
        ]
        drawn: list[Training] = []
        lines = [] if len(wanted) <= MOST else [f"The first {MOST} of {len(wanted)} trainings."]
        for run, step, key in wanted[:MOST]:
            try:
                drawn.append(read_training(self._catalogue.store, run, step, key))
            except (OSError, ValueError) as error:
                lines.append(trouble(error))
        if not wanted:
            lines = ["Choose runs: the curves of their finished trainings are drawn over each other."]
        plots = [
            pn.Column(
                pn.pane.Bokeh(plot, sizing_mode="stretch_width"),
                min_width=280,
                styles={"flex": "1 1 420px"},
            )
            for plot in curve_plots(drawn)
        ]
        self._body[:] = [
            html(f"<p class='quiet'>{' '.join(lines)}</p>" + _legend(drawn)),
            pn.FlexBox(*plots, sizing_mode="stretch_width"),
        ]


def _legend(trainings: list[Training]) -> str:
    """One legend of all plots, as HTML."""
    marks = (
        f"<span class='mark'><i style='background: {shade}'></i>{text(training.run)} · {text(training.step)}</span>"
        for training, shade in zip(trainings, PALETTE, strict=False)
    )
    rejected = any("lengths/rejected" in training.series for training in trainings)
    return f"<p>{' '.join(marks)}{' dashed: rejected' if rejected else ''}</p>"
