"""Figure of calibration: accuracy over the confidence of the vote, and risk over coverage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2s_analysis.reading.groups import Group
from w2s_analysis.weak_to_strong.calibration import VOTE, atoms_of, curve_of, vote_labels
from w2s_analysis.weak_to_strong.looks import ALL, COLOURS
from w2s_analysis.weak_to_strong.titles import METHODS
from w2s_analysis.writing.figures import (
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVE_POINTS = 200
_HEIGHTS = (1.0, 0.35, 0.75)


def calibration_figure(groups: Sequence[Group]) -> "Figure | None":
    """One column a weak model: reliability over the atoms, how many votes each has, risk over coverage.

    None without votes.
    """
    groups = [group for group in groups if any(atoms_of(group, label) for label in vote_labels(group))]
    if not groups:
        return None
    with style():
        figure, panels = new_figure(len(groups), _HEIGHTS)
        for group, column in zip(groups, panels.T, strict=True):
            _draw_reliability(column[0], group)
            _draw_shares(column[1], group)
            _draw_risk(column[2], group)
            column[0].set_title(panel_title(group), fontsize=8, pad=4)
        for row, text in zip(panels, ("right votes, %", "votes, %", "wrong among kept, %"), strict=True):
            label_lines(row, text)
        # Of all panels, which share it; set before the last curve is drawn it would cut off higher ones.
        panels[2][0].set_ylim(bottom=0)
        add_legend(figure, panels.flat)
    return figure


def _series(group: Group) -> list[tuple[float, str, str, str, str]]:
    """(shift, target, look, name, dashes) of each vote; M_plus on train_2 has the look of M_plus, dashed.

    Votes of one confidence stand beside each other, a point of confidence apart.
    """
    series: list[tuple[str, str, str, str]] = []
    for label in vote_labels(group):
        method = label.rsplit("/", 1)[-1]
        if label == VOTE:
            series.append((label, "hybrid", "M+, train_2", "--"))
        elif method in METHODS:
            series.append((label, method, METHODS[method], "-"))
        else:
            series.append((label, "hybrid", "M+", "-"))
    middle = (len(series) - 1) / 2
    return [(i - middle, *vote) for i, vote in enumerate(series)]


def _draw_reliability(panel: "Axes", group: Group) -> None:
    panel.plot([0, 100], [0, 100], color=COLOURS["floor"], linestyle=":", linewidth=1.0, label="calibrated")
    for shift, label, look, name, dashes in _series(group):
        atoms = atoms_of(group, label)
        places = [100 * atom.confidence + shift for atom in atoms]
        draw_points(panel, places, [atom.accuracy for atom in atoms], ALL[look], name, dashes)
        if label == VOTE and atoms:
            panel.containers[-1][0].set_markerfacecolor("white")
    panel.set_ylim(-2, 104)
    panel.tick_params(labelbottom=False)
    _confidence_axis(panel)


def _draw_shares(panel: "Axes", group: Group) -> None:
    for shift, label, look, _, _ in _series(group):
        atoms = atoms_of(group, label)
        total = sum(atom.n for atom in atoms)
        panel.bar(
            [100 * atom.confidence + shift for atom in atoms],
            [100 * atom.n / total for atom in atoms],
            width=0.9,
            facecolor="white" if label == VOTE else COLOURS[look],
            edgecolor=COLOURS[look],
            linewidth=0.6,
        )
    panel.set_xlabel("confidence of the vote, %", labelpad=2)
    _confidence_axis(panel)


def _confidence_axis(panel: "Axes") -> None:
    panel.set_xlim(0, 104)
    panel.set_xticks(range(20, 101, 20))
    add_grid(panel)


def _draw_risk(panel: "Axes", group: Group) -> None:
    for _, label, look, name, dashes in _series(group):
        curve = curve_of(group, label)
        if curve is None or not len(curve.risk):
            continue
        last = len(curve.risk) - 1
        at = sorted({round(i * last / _CURVE_POINTS) for i in range(_CURVE_POINTS + 1)})
        panel.plot(
            100 * curve.coverage[at],
            100 * curve.risk[at],
            color=COLOURS[look],
            linestyle=dashes,
            linewidth=1.3,
            label=name,
        )
    panel.set_xlim(-2, 102)
    panel.set_xlabel("votes kept, the surest first, %", labelpad=2)
    add_grid(panel)
