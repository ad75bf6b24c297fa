"""The labelled sets of train_2, and the rest of each agreed set, which the filter drops.

`dropped_i` is the weak side's answers to all questions that agreement i does not keep; the demonstrations are among
them. It is no target of a run: it follows from two of them.
"""

from dataclasses import replace
from math import nan
from typing import Final

from w2s_analysis.reading.groups import Group, shared
from w2s_analysis.reading.labels import (
    LabelTables,
    SetQuality,
    label_quality_over_seeds,
    label_tables,
    quality_in,
    runs_with_sets,
)

AGREED: Final = "agreed_"
DROPPED: Final = "dropped_"


def train_2(group: Group) -> float:
    """Questions to label; nan if not recorded."""
    return group.sizes.get("train_2", nan)


def planned_sets(group: Group) -> list[str]:
    """The labelled sets in order, each agreed set followed by its rest; without the sides of the pairs."""
    planned = [name for name in group.sets() if not name.startswith("pairs_")]
    return [part for name in planned for part in (name, *_rest_of(name))]


def _rest_of(name: str) -> list[str]:
    return [DROPPED + name.removeprefix(AGREED)] if name.startswith(AGREED) else []


def set_title(group: Group, name: str) -> str:
    """What tables call a labelled set, or the rest of one."""
    return f"dropped {name.removeprefix(DROPPED)}" if name.startswith(DROPPED) else group.set_title(name)


def quality_of_set(group: Group, name: str) -> SetQuality | None:
    """Quality of a labelled set, or of the rest of one, over seeds; None where no member has it."""
    if not name.startswith(DROPPED):
        return label_quality_over_seeds(group, name, train_2(group))
    number = name.removeprefix(DROPPED)
    agreed, weak = f"{AGREED}{number}", f"weak_{int(number) - 1}"
    members = runs_with_sets(group, agreed, weak)
    if not members:
        return None

    def measure() -> SetQuality:
        tables = with_rest(label_tables(group, [agreed, weak], members), name, agreed, weak)
        return quality_in(tables, name, train_2(group))

    return shared(group, [f"labels/{agreed}", f"labels/{weak}"], (name, repr(train_2(group))), measure)


def with_rest(tables: LabelTables, name: str, agreed: str, weak: str) -> LabelTables:
    """The tables with a further set: the weak side's labels of the questions that an agreed set does not keep."""
    rest = tables.kept[weak] * (1 - tables.kept[agreed])
    return replace(
        tables,
        kept=tables.kept | {name: rest},
        right=tables.right | {name: tables.right[weak] * rest},
        unparsed=tables.unparsed | {name: tables.unparsed[weak] * rest},
        open=tables.open | {name: tables.open[weak] * rest},
    )
