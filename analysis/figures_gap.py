"""The figure of the capability gap: PGR of M_plus over the gap, one point a pair of models."""

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Final

from analysis.reading.contrasts import difference
from analysis.writing.figures import MARKS, add_grid, arms, assigned, new_figure, style
from analysis.reading.groups import Group
from analysis.parts.accuracy import group_recovery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHADES: Final = ("#0072B2", "#D55E00", "#009E73", "#4B2E63", "#E78AC3", "#767676")


def gap_figure(cells: Sequence[Group]) -> "Figure | None":
    """Colour and dashes say the strong model, the marker the weak one. None where no pair has a resolved gap."""
    points = []
    for group in cells:
        found, gap = group_recovery(group, group.m_plus), difference([group], "ceiling", "weak_floor")
        if found is not None and found.resolved and gap is not None and not isnan(found.ratio.value):
            points.append((group, 100 * gap.value, found.ratio))
    if not points:
        return None
    shades = assigned([group.strong for group in cells], _SHADES)
    marks = assigned([group.weak for group in cells], MARKS)
    with style():
        figure, ((panel,),) = new_figure(1)
        figure.set_figheight(3.6)
        for group, gap_points, ratio in points:
            reach = [[arm] for arm in arms(ratio)]
            panel.errorbar(
                [gap_points], [ratio.value], yerr=reach, color=shades[group.strong], marker=marks[group.weak],
                markersize=4.5, elinewidth=0.8, capsize=1.8, capthick=0.8, linestyle="none", zorder=3,
            )  # fmt: skip
        for name, shade in shades.items():
            panel.plot([], [], color=shade, linewidth=3, label=f"strong: {name}")
        for name, mark in marks.items():
            panel.plot(
                [], [], color="#444444", marker=mark, linestyle="none", markersize=4.5, label=f"weak: {name}"
            )
        for level, dashes in ((0, (0, (1, 1.5))), (1, (0, (5, 2)))):
            panel.axhline(level, color="#767676", linestyle=dashes, linewidth=1.0, zorder=2)
        panel.set_xlabel("gap: strong ceiling minus weak floor, points", labelpad=2)
        panel.set_ylabel("performance gap recovered by M+")
        add_grid(panel)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=7.5)
    return figure
