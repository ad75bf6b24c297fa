"""The capability gap: PGR over weak and strong models, of studies that each have one strong model.

Does a student recover less of the gap the further it lies above its teacher? Each cell is one pair of a weak and a
strong model under the base setting of its study.
"""

from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Final

from w2s_analysis.parts.accuracy import accuracy_of, group_recovery
from w2s_analysis.reading.contrasts import difference
from w2s_analysis.reading.groups import Group, planned_methods
from w2s_analysis.reading.study import Study
from w2s_analysis.weak_to_strong.titles import METHODS, m_plus, strong_model, title_in
from w2s_analysis.weak_to_strong.weak_models import NOT_RESOLVED
from w2s_analysis.writing.figures import MARKS, add_grid, arms, assigned, new_figure, save_figure, style
from w2s_analysis.writing.notes import footer, smallest_effect
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    points_interval,
    ratio_interval,
    save_tables,
    to_terminal,
    words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NAME = "capability_gap"
TITLE = "PGR over weak and strong models"
CAPTION = (
    "PGR of M+ over the gap between floor and ceiling, one point a pair of models; bars are 95 % intervals. "
    "Pairs whose gap is not resolved have no point."
)
Cells = dict[tuple[str, str], Group]


def save_gap(studies: Sequence[Study], out: Path) -> str:
    """Save the grid of some studies, one a strong model, as tables and a figure. Returns what to print."""
    tables = gap_tables(studies)
    if studies[0].command:
        for table in tables:
            table.notes.append(f"made by: {studies[0].command}")
    figure = gap_figure(list(_cells(studies).values()))
    drawn: list[Path] = save_figure(figure, out, NAME) if figure is not None else []
    below = f"{CAPTION}\n\n![{TITLE}]({NAME}.png)\n" if drawn else ""
    saved = [*save_tables(tables, out, NAME, f"# {TITLE}\n", below), *drawn]
    listed = "\n".join(f"  {path}" for path in saved)
    return "\n".join(to_terminal(table) for table in tables) + f"\nsaved:\n{listed}"


def gap_tables(studies: Sequence[Study]) -> list[Table]:
    """For each method a grid of PGR, rows weak and columns strong models; then the floors, ceilings and gaps."""
    cells = _cells(studies)
    strongs = _by_ceiling(cells)
    judged = list(cells.values())
    planned = planned_methods(judged)
    wanted = ["m_plus", *(method for method in METHODS if method in planned)]
    return [*(_pgr_grid(cells, strongs, method) for method in wanted), _gap_grid(cells, strongs)]


def _cells(studies: Sequence[Study]) -> Cells:
    return {
        (base.subject, strong_model(base)): base
        for study in studies
        for base in study.bases
        if base.planned()
    }


def _by_ceiling(cells: Cells) -> list[str]:
    """The strong models, the least able one first."""
    ceilings: dict[str, list[float]] = {}
    for (_, strong), group in cells.items():
        estimate = accuracy_of(group, "ceiling")
        ceilings.setdefault(strong, []).append(estimate.value)
    return sorted(ceilings, key=lambda strong: (max(ceilings[strong]), strong))


def _grid(
    cells: Cells, strongs: Sequence[str], title: str, name: str, cell_of: Callable[[Group], Cell]
) -> Table:
    table = Table(title, ["weak model", *strongs], spans=tuple(strongs), name=name)
    for weak in dict.fromkeys(weak for weak, _ in cells):
        row = {
            strong: cell_of(cells[weak, strong]) if (weak, strong) in cells else words(MISSING)
            for strong in strongs
        }
        table.rows.append({"weak model": words(weak), **row})
    return table


def _pgr_grid(cells: Cells, strongs: Sequence[str], method: str) -> Table:
    judged = list(cells.values())

    def cell_of(group: Group) -> Cell:
        pgr = group_recovery(group, m_plus(group) if method == "m_plus" else method)
        if pgr is None:
            return words(MISSING)
        return ratio_interval(pgr.ratio) if pgr.resolved else words(NOT_RESOLVED)

    name = "M_plus" if method == "m_plus" else title_in(judged, method)
    table = _grid(
        cells, strongs, f"PGR of {name} on {judged[0].split}, by strong model", f"{NAME}_{method}", cell_of
    )
    table.notes = [
        (
            "PGR = (x - weak floor) / (strong ceiling - weak floor), with Fieller's interval. Strong models in "
            f"order of their ceilings. “{NOT_RESOLVED}”: the interval of the gap includes 0, or comes near it."
        ),
        *footer(judged),
    ]
    return table


def _gap_grid(cells: Cells, strongs: Sequence[str]) -> Table:
    judged = list(cells.values())
    gaps = {pair: difference([group], "ceiling", "weak_floor") for pair, group in cells.items()}
    table = Table(
        f"Floor, ceiling and gap on {judged[0].split}, per cent",
        ["weak model", "strong model", "floor", "M_plus", "ceiling", "gap, points", "M_plus - zero-shot, points"],
        spans=("floor", "M_plus", "ceiling", "gap, points", "M_plus - zero-shot, points"),
        left=("strong model",),
        name=f"{NAME}_pairs",
    )  # fmt: skip
    for weak in dict.fromkeys(weak for weak, _ in cells):
        for strong in (other for other in strongs if (weak, other) in cells):
            group = cells[weak, strong]
            table.rows.append(
                {
                    "weak model": words(weak),
                    "strong model": words(strong),
                    "floor": accuracy_of(group, "weak_floor"),
                    "M_plus": accuracy_of(group, m_plus(group)),
                    "ceiling": accuracy_of(group, "ceiling"),
                    "gap, points": points_interval(gaps[weak, strong]),
                    "M_plus - zero-shot, points": points_interval(
                        difference([group], m_plus(group), "zero_shot")
                    ),
                }
            )
    table.notes = footer(judged, smallest_effect("A gap", gaps.values()))
    return table


_SHADES: Final = ("#0072B2", "#D55E00", "#009E73", "#4B2E63", "#E78AC3", "#767676")


def gap_figure(cells: Sequence[Group]) -> "Figure | None":
    """Colour and dashes say the strong model, the marker the weak one. None where no pair has a resolved gap."""
    points = []
    for group in cells:
        pgr, gap = group_recovery(group, m_plus(group)), difference([group], "ceiling", "weak_floor")
        if pgr is not None and pgr.resolved and gap is not None and not isnan(pgr.ratio.value):
            points.append((group, 100 * gap.value, pgr.ratio))
    if not points:
        return None
    shades = assigned([strong_model(group) for group in cells], _SHADES)
    marks = assigned([group.subject for group in cells], MARKS)
    with style():
        figure, ((panel,),) = new_figure(1)
        figure.set_figheight(3.6)
        for group, gap_points, ratio in points:
            reach = [[arm] for arm in arms(ratio)]
            panel.errorbar(
                [gap_points], [ratio.value], yerr=reach, color=shades[strong_model(group)], marker=marks[group.subject],
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
