"""Thresholds as selection rules: what the consistency threshold (Stage I) and the confidence thresholds (Stage II) buy.

A series is the runs of one weak model that differ from its base setting in the threshold alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

from analysis.parts.accuracy import accuracy_of
from analysis.reading.contrasts import setting_spread
from analysis.reading.groups import Group, accuracy_estimate
from analysis.reading.labels import label_quality_over_seeds
from analysis.reading.study import Study
from analysis.weak_to_strong.stage_two import METHODS
from analysis.writing.figures import add_grid, add_legend, draw_points, label_lines, new_figure, style
from analysis.writing.notes import footer, run_notes, smallest_note, to_compute
from analysis.writing.table import Cell, Table, count, percent, percent_interval, words
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
    found = []
    for base in study.bases:
        rivals = [group for group in study.groups if group.weak == base.weak and _alike(group, base, field)]
        by_value = {float(group.settings[field]): group for group in rivals if field in group.settings}
        if len(by_value) > 1:
            values = sorted(by_value)
            split = _common_split([by_value[value] for value in values])
            found.append(Series(field, base.weak, values, [by_value[value].on(split) for value in values]))
    return found


def _alike(group: Group, base: Group, field: str) -> bool:
    ours, theirs = ({k: v for k, v in one.settings.items() if k != field} for one in (group, base))
    return ours == theirs


def _common_split(groups: Sequence[Group]) -> str:
    """Test where every setting is judged on it, else dev."""
    return "test" if all(group.on("test").planned() for group in groups) else "dev"


def threshold_tables(study: Study) -> list[Table]:
    """A table for each threshold and weak model; where no two runs differ in a threshold alone, how to make some."""
    tables = []
    for field in THRESHOLDS:
        series = series_of(study, field)
        tables += [_table(one) for one in series] or [_nothing_to_compare(study, field)]
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
        f"strong {first.strong}",
        [series.field, *columns],
        spans=spans,
        name=_stem(series.field),
        of=series.weak,
    )
    for value, row in zip(series.values, rows, strict=True):
        table.rows.append({series.field: Cell(f"{value:g}", value), **row})
    method, shown = _decided(series)
    spreads = [setting_spread(one, first, method) for one in series.groups[1:]]
    found = (spread.detectable() for spread in spreads if spread.known)
    table.notes = footer(series.groups, smallest_note(f"A difference in {shown} from the first row", found))
    return table


def _decided(series: Series) -> tuple[str, str]:
    """The first method that a threshold decides, and its name: Stage II's leave M_plus as it is."""
    first = series.groups[0]
    planned = [one for one in METHODS if one in first.planned()]
    if series.field == "stage1.consistency" or not planned:
        return first.m_plus, "M_plus"
    return planned[0], planned[0].upper()


def figure_groups(study: Study) -> list[Group]:
    """The settings that the thresholds' figure is drawn from."""
    series = [one for field in THRESHOLDS for one in series_of(study, field)]
    return list({id(group): group for one in series for group in one.groups}.values()) or study.bases


def _stage_one_row(group: Group) -> dict[str, Cell]:
    last = group.iterations
    row: dict[str, Cell] = {}
    for i in sorted({1, last}):
        quality = label_quality_over_seeds(group, f"agreed_{i}")
        name = f" {i}" if last > 1 else ""
        row[f"precision{name}"] = percent_interval(quality.precision) if quality else words("missing")
        row[f"coverage{name}"] = percent(quality.coverage if quality else nan)
    return row | _accuracies(group)


def _stage_two_row(group: Group) -> dict[str, Cell]:
    members = group.having("pairs")
    made = [group.pairs(name) for name in members]
    number = sum(len(one.ids) for one in made) / len(made) if made else nan
    row = {"pairs": count(number)}
    for side in ("chosen", "rejected"):
        right = [found.mean() for one in made if (found := one.right[side]) is not None and len(found)]
        row[f"{side} right"] = percent(float(sum(right)) / len(right) if right else nan)
    return row | _accuracies(group)


def _accuracies(group: Group) -> dict[str, Cell]:
    methods = [group.m_plus, *(one for one in METHODS if one in group.planned())]
    names = {group.m_plus: "M_plus", "dpo": "DPO", "orpo": "ORPO"}
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
            for panel, one in zip(line, series, strict=False):
                _draw_series(panel, one)
            for panel in line[len(series) :]:
                panel.set_axis_off()
            label_lines(line[: len(series)], f"%, judged on {series[0].groups[0].split}")
        add_legend(figure, panels.flat)
    return figure


def _draw_series(panel: "Axes", series: Series) -> None:
    lines: list[tuple[str, str, str, list[Estimate | None]]] = [
        ("hybrid", "M+ accuracy", "-", [accuracy_estimate(one, one.m_plus) for one in series.groups]),
        ("dpo", "DPO accuracy", "-", [accuracy_estimate(one, "dpo") for one in series.groups]),
        ("orpo", "ORPO accuracy", "-", [accuracy_estimate(one, "orpo") for one in series.groups]),
    ]
    if series.field == "stage1.consistency":  # it decides the first agreed set; the last hangs on much else
        found = [label_quality_over_seeds(group, "agreed_1") for group in series.groups]
        lines.append(
            ("precision", "label precision", "--", [one.precision if one else None for one in found])
        )
        shares = [nothing(value=one.coverage) if one else None for one in found]
        lines.append(("coverage", "coverage", ":", shares))
    step = 0.012 * (series.values[-1] - series.values[0])
    for i, (what, label, dashes, values) in enumerate(lines):
        shift = step * (i - 1) if i < 3 else 0.0
        draw_points(panel, [value + shift for value in series.values], values, what, label, dashes)
    panel.set_xlabel(THRESHOLDS[series.field], labelpad=2)
    panel.set_title(f"weak: {series.weak}", fontsize=8, pad=4)
    add_grid(panel)
