"""Where the labels come from: precision, coverage and levels of each labelled set, and controls at matched steps."""

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Final

from w2s_analysis.parts.accuracy import accuracy_of, named_method, title
from w2s_analysis.reading.contrasts import difference, precision_gain
from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.labels import SetQuality
from w2s_analysis.weak_to_strong.labels import (
    AGREED,
    DROPPED,
    planned_sets,
    quality_of_set,
    set_title,
    train_2,
)
from w2s_analysis.weak_to_strong.looks import ALL, COLOURS
from w2s_analysis.writing.figures import (
    add_grid,
    add_legend,
    draw_points,
    label_lines,
    new_figure,
    panel_title,
    style,
)
from w2s_analysis.writing.notes import (
    footer,
    in_templates,
    intervals_over,
    missing_notes,
    run_notes,
    smallest_effect,
)
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    count,
    percent,
    percent_interval,
    points_interval,
    probability,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CONTROLS_NOTE = (
    "all ICL: every few-shot answer, no filter. random: as many of them as agree, at random. gold: gold answers to the "
    "agreed questions. p of one paired test, not corrected."
)


def selection_tables(group: Group) -> list[Table]:
    """Quality of the labelled sets, and the controls where the runs have any."""
    quality = quality_of_sets(group)
    tables = (label_table(group, quality), level_share_table(group, quality), control_table(group))
    return [table for table in tables if table.rows]


def quality_of_sets(group: Group) -> dict[str, SetQuality | None]:
    """Every labelled set in the order of the method, with the rest that each agreement drops; None if missing."""
    return {name: quality_of_set(group, name) for name in planned_sets(group)}


def label_table(group: Group, quality: dict[str, SetQuality | None] | None = None) -> Table:
    """Precision and coverage of the labelled sets of train_2: all answers, those kept by agreement, and the rest."""
    quality = quality_of_sets(group) if quality is None else quality
    table = Table(
        title(group, "Labels on train_2, per cent"),
        ["set", "precision", "coverage", "rows", "unparsed"],
        spans=("precision",),
        name="selection",
        of=group.name,
    )
    table.rows = [
        {"set": words(set_title(group, name)), **_quality_row(measured)} for name, measured in quality.items()
    ]
    if not table.rows:
        return table
    if len(group.runs) > 1:
        table.notes.append("Rows and unparsed are means over seeds.")
    if any(name.startswith(DROPPED) for name in quality):
        table.notes.append("dropped: the weak side's labels of all questions that agreement does not keep.")
    table.notes += _label_notes(group)
    return table


def _quality_row(quality: SetQuality | None) -> dict[str, Cell]:
    if quality is None:
        return {"precision": words(MISSING)}
    return {
        "precision": percent_interval(quality.precision),
        "coverage": percent(quality.coverage),
        "rows": count(quality.rows),
        "unparsed": count(quality.unparsed),
    }


def _label_notes(group: Group) -> list[str]:
    size = train_2(group)
    asked = "train_2" if isnan(size) else f"{size:,.0f} questions of train_2"
    notes = [
        f"n = {asked}{_templates(group)}; seeds {', '.join(map(str, group.seeds))}; {intervals_over(len(group.seeds))}."
    ]
    agreed = [name for name in group.sets() if name.startswith(AGREED)]
    gains = [precision_gain([group], name, "weak_0") for name in agreed if group.having("labels/weak_0")]
    notes += filter(None, [smallest_effect("A difference in precision from D_weak", gains)])
    return notes + missing_notes([group], lambda label: label.startswith("labels/")) + run_notes([group])


def _templates(group: Group) -> str:
    """` in 687 templates`, as far as the graded labels tell."""
    graded = group.having("labels/weak_0")
    return in_templates(group.graded("labels/weak_0", graded[0]).clusters) if graded else ""


def level_share_table(group: Group, quality: dict[str, SetQuality | None]) -> Table:
    """What each set is made of: the share of its rows by level, and the precision there."""
    known = {name: measured for name, measured in quality.items() if measured is not None}
    # By type first, since numbers and words have no order among each other.
    levels = sorted(
        {level for measured in known.values() for level in measured.by_level},
        key=lambda level: (str(type(level)), level),
    )
    shares = {level: f"share L{level}" for level in levels}
    right = {level: f"precision L{level}" for level in levels}
    table = Table(
        title(group, "Labels on train_2 by level, per cent"),
        ["set", *shares.values(), *right.values()],
        name="selection_levels",
        of=group.name,
    )
    if not levels:
        return table
    for name, measured in known.items():
        row = {"set": words(set_title(group, name))}
        for level, (share, precision) in sorted(
            measured.by_level.items(), key=lambda item: levels.index(item[0])
        ):
            row |= {shares[level]: percent(share, 0), right[level]: percent(precision, 0)}
        table.rows.append(row)
    table.notes = ["share: of the set's rows. Means over seeds, without intervals: see precision above."]
    table.notes += _label_notes(group)
    return table


def control_table(group: Group) -> Table:
    """icl-ft of iteration 1 against the controls that were trained for as many steps, by greedy accuracy."""
    controls = group.with_role("control")
    less = "icl-ft 1 minus it"
    table = Table(
        title(group, f"Controls at matched steps, accuracy on {group.split}, per cent and points"),
        ["trained on", "accuracy", less, "p"],
        spans=("accuracy", less),
        name="selection_controls",
        of=group.name,
    )
    if not controls:
        return table
    first = {"trained on": words(named_method(group, "icl_ft_1")), "accuracy": accuracy_of(group, "icl_ft_1")}
    effects = {control: difference([group], "icl_ft_1", control) for control in controls}
    table.rows = [first] + [
        {
            "trained on": words(group.title(control)),
            "accuracy": accuracy_of(group, control),
            less: points_interval(effect),
            "p": probability(effect),
        }
        for control, effect in effects.items()
    ]
    table.notes = [
        CONTROLS_NOTE,
        *footer([group], smallest_effect("A difference from icl-ft 1", effects.values())),
    ]
    return table


_KINDS: Final[dict[str, tuple[str, str]]] = {
    "weak": ("weak", "weak side"),
    "icl": ("icl", "ICL side"),
    "agreed": ("hybrid", "agreed"),
    "dropped": ("floor", "dropped"),
}

_SHIFTS: Final = {"weak": -2.5, "icl": 2.5}
"""Both sides cover everything: they are drawn beside each other, in points of coverage."""


def selection_figure(groups: Sequence[Group]) -> "Figure | None":
    """One panel a weak model: precision of each labelled set against its coverage; the number is the iteration."""
    by_group = {group.name: quality_of_sets(group) for group in groups}
    groups = [group for group in groups if any(by_group[group.name].values())]
    if not groups:
        return None
    with style():
        figure, panels = new_figure(len(groups))
        for group, panel in zip(groups, panels[0], strict=True):
            for name, quality in by_group[group.name].items():
                if quality is not None:
                    _draw_set(panel, name, quality)
            panel.set_xlim(-4, 113)
            panel.set_ylim(-3, 105)
            panel.set_xlabel("coverage of train_2, %", labelpad=2)
            panel.set_title(panel_title(group), fontsize=8, pad=4)
            add_grid(panel)
        label_lines(panels[0], "label precision, %")
        add_legend(figure, panels.flat, [label for _, label in _KINDS.values()])
    return figure


def _draw_set(panel: "Axes", name: str, quality: SetQuality) -> None:
    side, _, number = name.rpartition("_")
    if side not in _KINDS or quality.precision.value != quality.precision.value:
        return
    look, label = _KINDS[side]
    at = 100 * quality.coverage + _SHIFTS.get(side, 0)
    draw_points(panel, [at], [quality.precision], ALL[look], label, "none")
    # D_weak and D_icl are number 0: the sides of an iteration are the answers after the one before
    panel.annotate(
        number,
        (at, 100 * quality.precision.value),
        xytext=(3.5, 2) if int(number) else (-3.5, 2),
        ha="left" if int(number) else "right",
        textcoords="offset points",
        fontsize=6.5,
        color=COLOURS[look],
    )
