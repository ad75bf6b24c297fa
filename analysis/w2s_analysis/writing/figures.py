"""How figures look and are saved."""

from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.groups import Group
from w2s_core.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Look(NamedTuple):
    """A colour and a marker."""

    colour: str
    marker: str


LOOKS: Final = (
    Look("#D55E00", "o"),
    Look("#0072B2", "s"),
    Look("#009E73", "D"),
    Look("#E78AC3", "^"),
    Look("#4B2E63", "v"),
    Look("#0000AA", "<"),
    Look("#61DB55", ">"),
)
"""Of methods: distinct for colour-blind eyes (after Okabe and Ito); markers differ too."""
FLOOR: Final = Look("#767676", "x")
CEILING: Final = Look("#000000", "*")
PRECISION: Final = Look("#000000", "P")
COVERAGE: Final = Look("#767676", "X")
"""What is no method; these have dashes of their own too."""
MARKS: Final = ("o", "s", "D", "^", "v", "P", "X", "*")
"""Markers of models, where a figure tells several apart; see `assigned`."""
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
    "text.parse_math": False,  # titles of targets may hold "$"
}
_DPI: Final = 200
_PANEL: Final = (2.35, 2.5)  # inches; one panel alone gets a column's width
_SINGLE: Final = (3.4, 2.8)
_ACROSS: Final = 4  # panels; more go into further lines
_TITLE: Final = 34  # letters of a panel's title that are as wide as the panel
_LETTER: Final = 0.05  # inches, in a legend; its line and the gaps are as wide as six


def new_figure(panels: int, heights: Sequence[float] = (1.0,)) -> "tuple[Figure, npt.NDArray[Any]]":
    """A figure in the house style with panels side by side, shape [rows, panels]: one column wide, or more for more.

    Up to four panels stand in a line, and more in several lines, with all their rows; a row has one scale in all lines.
    Draw and save it inside `style()`.

    Args:
        heights: of the rows, where a panel by itself has 1.
    """
    from matplotlib.figure import Figure

    rows, lines = len(heights), -(-panels // _ACROSS)
    across = -(-panels // lines)
    width, height = _SINGLE if panels == 1 else (_PANEL[0] * across, _PANEL[1])
    figure = Figure(figsize=(width, height * sum(heights) * lines + 0.35), layout="constrained")
    grid = figure.subplots(
        rows * lines, across, sharey="row", squeeze=False, height_ratios=[*heights] * lines
    )
    for panel in grid[-rows:, (panels - 1) % across + 1 :].flat:
        panel.remove()
    for i, panel in enumerate(grid[rows:, 0]):
        panel.sharey(grid[i % rows, 0])
    return figure, np.concatenate([grid[i * rows : (i + 1) * rows] for i in range(lines)], axis=1)[:, :panels]


def label_lines(row: "Iterable[Axes]", text: str) -> None:
    """Say beside the first panel of each line what its height means."""
    for panel in row:
        place = panel.get_subplotspec()
        if place is not None and place.is_first_col():
            panel.set_ylabel(text)


def style() -> Any:
    """The context in which figures are drawn and saved."""
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write a figure as `name.png` and `name.svg`; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with style():
        figure.dpi = _DPI  # by which the layout measures texts
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
        figure.set_layout_engine(None)  # with one, each form is drawn once more, unseen
        figure.savefig(paths[0], dpi=_DPI, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def draw_points(
    panel: "Axes",
    places: Sequence[float],
    estimates: Sequence[Estimate | None],
    look: Look,
    label: str,
    line: str = "-",
    *,
    scale: float = 100,
) -> None:
    """Points with intervals, by default in per cent; a missing one leaves a gap, one without interval has no bar."""
    known = [
        (at, estimate)
        for at, estimate in zip(places, estimates, strict=True)
        if estimate is not None and not isnan(estimate.value)
    ]
    if not known:
        return
    panel.errorbar(
        [at for at, _ in known],
        [scale * estimate.value for _, estimate in known],
        yerr=[[scale * arm for arm in side] for side in zip(*(arms(e) for _, e in known), strict=True)],
        color=look.colour,
        marker=look.marker,
        linestyle=line,
        label=label,
        linewidth=1.3,
        markersize=4,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
        zorder=3,
    )


def arms(estimate: Estimate) -> tuple[float, float]:
    """How far an interval reaches below and above its value; not at all where there is none."""
    if isnan(estimate.low):
        return 0.0, 0.0
    return max(0.0, estimate.value - estimate.low), max(0.0, estimate.high - estimate.value)


def panel_title(group: Group) -> str:
    """A panel's title; a long name is broken at its commas, and where it is wider than the panel."""
    parts = f"{group.lead}: {group.name}".split(", ")
    return "\n".join(line for part in parts for line in wrap(part, _TITLE))


def assigned(names: Iterable[str], looks: Sequence[str]) -> dict[str, str]:
    """A look for each name, in order of first appearance; used again where there are more names."""
    return {name: looks[i % len(looks)] for i, name in enumerate(dict.fromkeys(names))}


def add_grid(panel: "Axes") -> None:
    """Faint lines across, behind the points."""
    panel.grid(axis="y", color="#E6E6E6", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)


def add_legend(figure: "Figure", panels: Iterable["Axes"], order: Sequence[str] = ()) -> None:
    """One legend below all panels; what any panel shows is in it, in this order, others after."""
    by_label: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        by_label = dict(zip(labels, handles, strict=True)) | by_label
    labels = [label for label in order if label in by_label]
    labels += [label for label in by_label if label not in labels]
    figure.legend(
        [by_label[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() / (_LETTER * (6 + max(map(len, labels), default=1))))),
        frameon=False,
        fontsize=7.5,
        handlelength=1.8,
        columnspacing=1.0,
        handletextpad=0.5,
    )
