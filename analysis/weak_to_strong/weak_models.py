"""The capability gap by weak model: PGR of each method, where the strong ceiling clears the weak floor."""

from collections.abc import Sequence

from analysis.reading.contrasts import difference
from analysis.reading.groups import Group
from analysis.reading.titles import method_name
from analysis.writing.notes import footer, smallest_effect
from analysis.weak_to_strong.stage_two import METHODS
from analysis.reading.study import Study
from analysis.writing.table import MISSING, Cell, Table, points_interval, ratio_interval, words
from analysis.parts.accuracy import accuracy_of, group_recovery
from w2s_core.statistics import Recovery

NOT_RESOLVED = "gap not resolved"


def weak_model_tables(study: Study) -> list[Table]:
    """PGR by weak model."""
    judged = [group for group in study.bases if group.planned()]
    return [pgr_table(judged)] if judged else []


def pgr_methods(groups: Sequence[Group]) -> list[str]:
    """The methods of the grid, as far as any group has them."""
    last = max(group.iterations for group in groups)
    wanted = ["full_weak_ft", "weak_icl", f"weak_ft_{last}", f"icl_ft_{last}", f"hybrid_ft_{last}", *METHODS]
    planned = {method for group in groups for method in group.planned()}
    return [method for method in wanted if method in planned]


def pgr_table(groups: Sequence[Group]) -> Table:
    """PGR with intervals; where the ceiling does not clear the floor there is none, and the table says so."""
    methods = pgr_methods(groups)
    names = {method: method_name(method, groups[0].m_plus) for method in methods}
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


def _pgr_cell(found: Recovery | None) -> Cell:
    if found is None:
        return words(MISSING)
    return ratio_interval(found.ratio) if found.resolved else words(NOT_RESOLVED)
