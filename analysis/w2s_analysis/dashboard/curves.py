"""How trainings went: what `training.json` holds of them, read from the store and drawn over each other."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from w2s_analysis.dashboard.columns import PALETTE
from w2s_analysis.dashboard.run import Run, steps_of
from w2s_core.engine import Store

TRAINING: Final = "training.json"
PANELS: Final = {
    "loss": ("loss",),
    "reward margin": ("rewards/margins",),
    "length of completions, tokens": ("lengths/completion", "lengths/chosen", "lengths/rejected"),
    "gradient norm": ("grad_norm",),
}
"""What each plot draws of a training's log; a second or third measure is dashed."""
_DASHES: Final = {"lengths/rejected": "dashed"}


@dataclass(frozen=True)
class Training:
    """A training of a run: its step, and for each measure of its log the optimiser steps and the values."""

    run: str
    step: str
    series: Mapping[str, tuple[list[float], list[float]]]


def training_steps(store: Store, run: Run) -> dict[str, str]:
    """Keys of a run's trainings that are finished, by their step's label."""
    return {label: key for label, key in steps_of(run).items() if (store.folder(key) / TRAINING).is_file()}


def read_training(store: Store, run: str, step: str, key: str) -> Training:
    """The log of a training; entries that are no numbers are left out.

    Raises:
        OSError, ValueError: the file cannot be read, or holds no log.
    """
    try:
        log = json.loads((store.folder(key) / TRAINING).read_bytes())["log"]
        entries = [entry for entry in log if _is_number(entry.get("step"))]
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{store.folder(key) / TRAINING} holds no log of a training") from None
    names = [name for names in PANELS.values() for name in names]
    return Training(run, step, {name: series for name in names if (series := _series(entries, name))[0]})


def _series(entries: Iterable[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    known = [(entry["step"], entry[name]) for entry in entries if _is_number(entry.get(name))]
    return [step for step, _ in known], [value for _, value in known]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def curve_plots(trainings: Sequence[Training]) -> Iterator[Any]:
    """A plot a measure that any of the trainings has; each training has its colour in all of them."""
    for title, names in PANELS.items():
        if any(name in training.series for training in trainings for name in names):
            yield _plot(title, names, trainings)


def _plot(title: str, names: Sequence[str], trainings: Sequence[Training]) -> Any:
    plot = figure(
        title=title, height=280, min_width=280, sizing_mode="stretch_width", x_axis_label="optimiser step",
        toolbar_location=None, tools="",
    )  # fmt: skip
    plot.add_tools(HoverTool(tooltips=[("", "@label"), ("step", "@step"), ("@measure", "@value")]))
    for i, training in enumerate(trainings):
        for name in names:
            if name in training.series:
                _draw(plot, training, name, PALETTE[i % len(PALETTE)])
    return plot


def _draw(plot: Any, training: Training, name: str, shade: str) -> None:
    steps, values = training.series[name]
    count = len(steps)
    label = f"{training.run} · {training.step}"
    source = ColumnDataSource(
        {"step": steps, "value": values, "label": [label] * count, "measure": [name] * count}
    )
    dash = _DASHES.get(name, "solid")
    plot.line("step", "value", source=source, line_color=shade, line_width=2, line_dash=dash)
    plot.scatter("step", "value", source=source, size=4, color=shade)
