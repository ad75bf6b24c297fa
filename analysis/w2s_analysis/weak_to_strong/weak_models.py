"""The capability gap by weak model: PGR of each method, where the strong ceiling clears the weak floor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from w2s_analysis.parts.accuracy import accuracy_of, group_recovery
from w2s_analysis.reading.contrasts import difference
from w2s_analysis.reading.groups import Group, planned_methods
from w2s_analysis.reading.study import Study
from w2s_analysis.weak_to_strong.looks import ALL, COLOURS, MODELS
from w2s_analysis.weak_to_strong.titles import METHODS, iterations, title_in
from w2s_analysis.writing.figures import (
    add_grid,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from w2s_analysis.writing.notes import footer, smallest_effect
from w2s_analysis.writing.table import MISSING, Cell, Table, points_interval, ratio_interval, words
from w2s_core.statistics import Recovery

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


NOT_RESOLVED = "gap not resolved"


def weak_model_tables(study: Study) -> list[Table]:
    """PGR by weak model."""
    judged = [group for group in study.bases if group.planned()]
    return [pgr_table(judged)] if judged else []


def pgr_methods(groups: Sequence[Group]) -> list[str]:
    """The methods of the grid, as far as any group has them."""
    last = max(iterations(group) for group in groups)
    wanted = ["full_weak_ft", "weak_icl", f"weak_ft_{last}", f"icl_ft_{last}", f"hybrid_ft_{last}", *METHODS]
    planned = planned_methods(groups)
    return [method for method in wanted if method in planned]


def pgr_table(groups: Sequence[Group]) -> Table:
    """PGR with intervals; where the ceiling does not clear the floor there is none, and the table says so."""
    methods = pgr_methods(groups)
    names = {method: title_in(groups, method) for method in methods}
    spans = ("floor", "ceiling", "gap, points", *names.values())
    table = Table(
        f"PGR by weak model, on {groups[0].split}", ["weak model", *spans], spans=spans, name="weak_models"
    )
    for group in groups:
        row = {
            "weak model": words(group.name),
            "floor": accuracy_of(group, "weak_floor"),
            "ceiling": accuracy_of(group, "ceiling"),
            "gap, points": points_interval(difference([group], "ceiling", "weak_floor")),
        }
        table.rows.append(row | {names[m]: _pgr_cell(group_recovery(group, m)) for m in methods})
    gaps = [difference([group], "ceiling", "weak_floor") for group in groups]
    table.notes = [
        (
            "Floor and ceiling in per cent. PGR = (x - floor) / (ceiling - floor), with Fieller's interval. "
            f"“{NOT_RESOLVED}”: the interval of the gap includes 0, or comes near it."
        ),
        *footer(groups, smallest_effect("A gap", gaps)),
    ]
    return table


def _pgr_cell(pgr: Recovery | None) -> Cell:
    if pgr is None:
        return words(MISSING)
    return ratio_interval(pgr.ratio) if pgr.resolved else words(NOT_RESOLVED)


_SHORT: Final = {
    "full_weak_ft": "full\nFT",
    "weak_icl": "weak\nICL",
    "weak": "weak\n-ft",
    "icl": "icl\n-ft",
    "hybrid": "M+",
    **METHODS,
}


def pgr_figure(groups: Sequence[Group]) -> "Figure | None":
    """One panel a weak model: PGR of each method with its interval. None where no group has a result."""
    groups = [group for group in groups if group.ids]
    if not groups or not pgr_methods(groups):
        return None
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            _draw_pgr(panel, group, pgr_methods(groups))
        label_lines(panels[0], "performance gap recovered")
    return figure


def _draw_pgr(panel: "Axes", group: Group, methods: Sequence[str]) -> None:
    for at, method in enumerate(methods):
        pgr = group_recovery(group, method)
        if pgr is not None and not pgr.resolved:
            panel.text(0.5, 0.5, NOT_RESOLVED, transform=panel.transAxes, ha="center", fontsize=7.5)
            break
        look = ALL[_side(method)]
        draw_points(panel, [at], [pgr.ratio if pgr else None], look, method, "none", scale=1)
    names = [_SHORT.get(method, _SHORT.get(method.split("_")[0], method)) for method in methods]
    panel.set_xticks(range(len(methods)), names, fontsize=6.5)
    panel.set_xlim(-0.5, len(methods) - 0.5)
    for level, dashes in ((0, (0, (1, 1.5))), (1, (0, (5, 2)))):
        colour = COLOURS["floor" if level == 0 else "ceiling"]
        panel.axhline(level, color=colour, linestyle=dashes, linewidth=1.0, zorder=2)
    panel.set_title(panel_title(group), fontsize=8, pad=4)
    add_grid(panel)


def _side(method: str) -> str:
    if method in MODELS:
        return method
    return {"full_weak_ft": "weak", "weak_icl": "icl"}.get(method, method.split("_")[0])
