"""Thresholds as selection rules: what the consistency threshold (Stage I) and the confidence thresholds (Stage II) buy.

A series is the runs of one weak model that differ from its base setting in the threshold alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

from w2s_analysis.parts.accuracy import accuracy_of
from w2s_analysis.reading.contrasts import setting_spread
from w2s_analysis.reading.groups import Group, accuracy_estimate, planned_methods
from w2s_analysis.reading.labels import SetQuality
from w2s_analysis.reading.study import Study
from w2s_analysis.weak_to_strong.labels import quality_of_set
from w2s_analysis.weak_to_strong.looks import ALL
from w2s_analysis.weak_to_strong.titles import (
    METHODS,
    iterations,
    m_plus,
    short_names,
    stage_two,
    strong_model,
)
from w2s_analysis.writing.figures import add_grid, add_legend, draw_points, label_lines, new_figure, style
from w2s_analysis.writing.notes import footer, run_notes, smallest_note, to_compute
from w2s_analysis.writing.table import Cell, Table, count, percent, percent_interval, words
from w2s_core.statistics import Estimate
from w2s_core.statistics.estimates import nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


THRESHOLDS: Final = {
    "stage1.consistency": "consistency",
    "stage2.keep": "confidence to keep",
    "stage2.flip": "confidence to overrule",
}
SUGGESTED: Final = {"stage1.consistency": "0.5", "stage2.keep": "0.8", "stage2.flip": "0.9"}


@dataclass(frozen=True)
class Series:
    """Settings of one weak model that differ in one threshold, in order of its values, judged on one split."""

    field: str
    weak: str
    values: list[float]
    groups: list[Group]


def series_of(study: Study, field: str) -> list[Series]:
    """The series of a threshold, one a weak model; a weak model with a single value has none."""
    listed = []
    for base in study.bases:
        rivals = [
            group for group in study.groups if group.subject == base.subject and _alike(group, base, field)
        ]
        by_value = {float(group.settings[field]): group for group in rivals if field in group.settings}
        if len(by_value) > 1:
            values = sorted(by_value)
            split = _common_split([by_value[value] for value in values])
            groups = [by_value[value].on(split) for value in values]
            listed.append(Series(field, base.subject, values, groups))
    return listed


def _alike(group: Group, base: Group, field: str) -> bool:
    """Whether two groups differ in this field at most."""
    first, second = (
        {name: value for name, value in part.settings.items() if name != field} for part in (group, base)
    )
    return first == second


def _common_split(groups: Sequence[Group]) -> str:
    """Test where every setting is judged on it, else dev."""
    return "test" if all(group.on("test").planned() for group in groups) else "dev"


def threshold_tables(study: Study) -> list[Table]:
    """A table for each threshold and weak model; where no two runs differ in a threshold alone, how to make some."""
    tables = []
    for field in THRESHOLDS:
        series = series_of(study, field)
        tables += [_table(part) for part in series] or [_nothing_to_compare(study, field)]
    return tables


def _nothing_to_compare(study: Study, field: str) -> Table:
    """A table without rows that says which command would fill it."""
    table = Table(f"By {THRESHOLDS[field]} ({field})", [field], name=_stem(field), of="")
    command = to_compute(study.bases, f"{field}={SUGGESTED[field]}")
    example = f" To compute some: {command}" if command else ""
    table.rows = [{field: words("missing")}]
    table.notes = [f"No two of these runs differ in {field} alone.{example}", *run_notes(study.groups)]
    return table


def _stem(field: str) -> str:
    return f"thresholds_{field.rsplit('.', 1)[-1]}"


def _table(series: Series) -> Table:
    make = _stage_one_row if series.field == "stage1.consistency" else _stage_two_row
    rows = [make(group) for group in series.groups]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    first, split = series.groups[0], series.groups[0].split
    spans = tuple(c for c in columns if c.startswith("precision") or c.endswith(", accuracy"))
    table = Table(
        f"By {THRESHOLDS[series.field]} ({series.field}), judged on {split}, per cent · weak {series.weak}, "
        f"strong {strong_model(first)}",
        [series.field, *columns],
        spans=spans,
        name=_stem(series.field),
        of=series.weak,
    )
    for value, row in zip(series.values, rows, strict=True):
        table.rows.append({series.field: Cell(f"{value:g}", value), **row})
    method, name = _decided(series)
    spreads = [setting_spread(group, first, method) for group in series.groups[1:]]
    sizes = (spread.detectable() for spread in spreads if spread.known)
    table.notes = footer(series.groups, smallest_note(f"A difference in {name} from the first row", sizes))
    return table


def _decided(series: Series) -> tuple[str, str]:
    """The first method that a threshold decides, and its name: Stage II's leave M_plus as it is."""
    first = series.groups[0]
    methods = stage_two(first)
    if series.field == "stage1.consistency" or not methods:
        return m_plus(first), "M_plus"
    return methods[0], METHODS[methods[0]]


def figure_groups(study: Study) -> list[Group]:
    """The settings that the thresholds' figure is drawn from."""
    series = [part for field in THRESHOLDS for part in series_of(study, field)]
    return list({id(group): group for part in series for group in part.groups}.values()) or study.bases


def _stage_one_row(group: Group) -> dict[str, Cell]:
    last = iterations(group)
    row: dict[str, Cell] = {}
    for i in sorted({1, last}):
        quality = quality_of_set(group, f"agreed_{i}")
        name = f" {i}" if last > 1 else ""
        row[f"precision{name}"] = percent_interval(quality.precision) if quality else words("missing")
        row[f"coverage{name}"] = percent(quality.coverage if quality else nan)
    return row | _accuracies(group)


def _stage_two_row(group: Group) -> dict[str, Cell]:
    members = group.having("pairs")
    pairs = [group.pairs(name) for name in members]
    number = sum(len(part.ids) for part in pairs) / len(pairs) if pairs else nan
    row = {"pairs": count(number)}
    for side in ("chosen", "rejected"):
        right = [hits.mean() for part in pairs if (hits := part.right[side]) is not None and len(hits)]
        row[f"{side} right"] = percent(float(sum(right)) / len(right) if right else nan)
    return row | _accuracies(group)


def _accuracies(group: Group) -> dict[str, Cell]:
    methods, names = [m_plus(group), *stage_two(group)], short_names(group)
    return {f"{names[method]}, accuracy": accuracy_of(group, method) for method in methods}


def threshold_figure(study: Study) -> "Figure | None":
    """A row a threshold, a panel a weak model: precision, coverage (Stage I) and accuracies over the threshold."""
    rows = [series for field in THRESHOLDS if (series := series_of(study, field))]
    if not rows:
        return None
    width = max(map(len, rows))
    with style():
        figure, panels = new_figure(width, [1.0] * len(rows))
        for line, series in zip(panels, rows, strict=True):
            for panel, part in zip(line, series, strict=False):
                _draw_series(panel, part)
            for panel in line[len(series) :]:
                panel.set_axis_off()
            label_lines(line[: len(series)], f"%, judged on {series[0].groups[0].split}")
        add_legend(figure, panels.flat)
    return figure


def _draw_series(panel: "Axes", series: Series) -> None:
    groups = series.groups
    planned = planned_methods(groups)
    lines: list[tuple[str, str, str, list[Estimate | None]]] = [
        ("hybrid", "M+ accuracy", "-", [accuracy_estimate(group, m_plus(group)) for group in groups]),
        *(
            (method, f"{label} accuracy", "-", [accuracy_estimate(group, method) for group in groups])
            for method, label in METHODS.items()
            if method in planned
        ),
    ]
    accuracies = len(lines)
    if series.field == "stage1.consistency":  # it decides the first agreed set; the last hangs on much else
        lines += _label_lines([quality_of_set(group, "agreed_1") for group in groups])
    step = 0.012 * (series.values[-1] - series.values[0])
    for i, (look, label, dashes, values) in enumerate(lines):
        shift = step * (i - (accuracies - 1) / 2) if i < accuracies else 0.0
        draw_points(panel, [value + shift for value in series.values], values, ALL[look], label, dashes)
    panel.set_xlabel(THRESHOLDS[series.field], labelpad=2)
    panel.set_title(f"weak: {series.weak}", fontsize=8, pad=4)
    add_grid(panel)


def _label_lines(qualities: Sequence[SetQuality | None]) -> list[tuple[str, str, str, list[Estimate | None]]]:
    precision = [quality.precision if quality else None for quality in qualities]
    coverage = [nothing(value=quality.coverage) if quality else None for quality in qualities]
    return [("precision", "label precision", "--", precision), ("coverage", "coverage", ":", coverage)]
