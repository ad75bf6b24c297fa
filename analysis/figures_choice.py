"""Figure of the choice of the weak model: the strong model's gain over what is measured of the weak one."""

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Final

from analysis.writing.figures import COLOURS, MARKS, add_grid, arms, assigned, label_lines, new_figure, style
from analysis.reading.groups import Group
from analysis.weak_to_strong.weak_choice import measured, property_names, ranked
from w2s_core.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FAINT: Final = "#9FD8C6"
"""Of the bars: the colour of M+, lightened, since bars of many models cross."""


def choice_figure(groups: Sequence[Group]) -> "Figure | None":
    """A panel a property: the gain of M_plus over zero-shot, a point a weak model. None where none has a gain."""
    found = [one for one in measured(groups) if one.gain and not isnan(one.gain.value)]
    names = property_names(found)
    if not names:
        return None
    marks = assigned([one.group.base for one in found], MARKS)
    with style():
        figure, panels = new_figure(len(names))
        for panel, name in zip(panels[0], names, strict=True):
            for one in found:
                if one.gain and name in one.properties:
                    _draw_model(panel, one.properties[name], one.gain, marks[one.group.base])
            size, rho, _ = ranked(found, name)
            panel.set_title(f"{size} weak models, rho = {rho:+.2f}", fontsize=8, pad=4)
            panel.set_xlabel(f"{name}, %", labelpad=2)
            add_grid(panel)
        label_lines(panels[0], "gain over zero-shot, points")
        for base, mark in marks.items():
            panels[0][0].plot(
                [], [], color=COLOURS["hybrid"], marker=mark, linestyle="none", label=f"weak: {base}"
            )
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7.5)
    return figure


def _draw_model(panel: "Axes", measured_as: Estimate, gain: Estimate, mark: str) -> None:
    across, up = (([100 * arm] for arm in arms(one)) for one in (measured_as, gain))
    panel.errorbar(
        [100 * measured_as.value], [100 * gain.value], xerr=[*across], yerr=[*up], color=COLOURS["hybrid"],
        marker=mark, markersize=4, ecolor=_FAINT, elinewidth=0.7, linestyle="none", zorder=3,
    )  # fmt: skip
