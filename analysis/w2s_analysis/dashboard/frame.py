"""The frame behind the runs table, and how each of its columns is filtered. Pure: no widget is made here."""

from collections.abc import Sequence
from html import escape
from math import isnan, nan
from typing import TYPE_CHECKING, Any, Final

from w2s_analysis.dashboard.catalogue import Snapshot
from w2s_analysis.dashboard.look import bounds
from w2s_analysis.dashboard.run import Run
from w2s_core.cli.render import when
from w2s_core.statistics import Bounds

if TYPE_CHECKING:
    import pandas as pd

BESIDE: Final = "|beside"
"""The column of what stands beside the results: a list a row, for each result [low, high, remark], None where there is
none. In one column, since each that a table hides costs the browser a layout of all headers.
"""
SHOWN_FIELDS: Final = 8
LISTED_VALUES: Final = 40


def runs_frame(snapshot: Snapshot, fields: Sequence[str], results: Sequence[str]) -> "pd.DataFrame":
    """One row a run, the latest first: run, started, state, the fields, the results, and what stands beside these.

    That is a result's interval, and a remark where responses which were not graded leave it open. Results are in per
    cent, nan where not known. A column of fields has numbers where all its values are numbers, and text otherwise.
    """
    import pandas as pd

    names = list(snapshot.runs)
    fields_by_run = snapshot.settings
    columns: dict[str, Any] = {
        "run": names,
        "started": [_when(snapshot.runs[name]) for name in names],
        "state": [snapshot.state(name) for name in names],
    }
    for field in fields:
        columns[field] = _column([values.get(field, "") for values in fields_by_run])
    estimates = [[snapshot.value(name, result) or (nan, nan, nan) for result in results] for name in names]
    for place, result in enumerate(results):
        columns[result] = pd.array([row[place][0] for row in estimates], dtype="float64")
    columns[BESIDE] = [
        [
            _beside(low, high, snapshot.bounds(name, result))
            for result, (_, low, high) in zip(results, row, strict=True)
        ]
        for name, row in zip(names, estimates, strict=True)
    ]
    return pd.DataFrame(columns, columns=list(columns))


def default_fields(snapshot: Snapshot) -> list[str]:
    """The settings that differ between the runs, at most eight; the others can be added on the page."""
    return snapshot.differing[:SHOWN_FIELDS]


def all_fields(snapshot: Snapshot) -> list[str]:
    """Every setting that any run has, those that differ first."""
    names = dict.fromkeys(name for fields in snapshot.settings for name in fields)
    return list(dict.fromkeys([*snapshot.differing, *names]))


def group_values(snapshot: Snapshot, field: str) -> list[str]:
    """What each run's group is called where runs are grouped by a field.

    Runs of two recipes are never one group: a field of one name need not mean the same to both.
    """
    fields_by_run = snapshot.settings
    values = [_written(fields.get(field, "")) for fields in fields_by_run]
    recipes = [str(fields["recipe"]) for fields in fields_by_run]
    if field == "recipe" or len(set(recipes)) == 1:
        return values
    return [f"{value} · {recipe}" for value, recipe in zip(values, recipes, strict=True)]


def header_filter(frame: "pd.DataFrame", column: str, *, result: bool = False) -> dict[str, Any]:
    """A filter in the column's header: at least, for results; one of its values; or words in it.

    Values that could be read as HTML are filtered by words: the list of values would not escape them.
    """
    if result:
        return {"type": "number", "func": ">=", "placeholder": "≥"}
    values = frame[column].unique().tolist()
    plain = all(escape(str(value)) == str(value) for value in values)
    if column in ("run", "started") or len(values) > LISTED_VALUES or not plain:
        return {"type": "input", "func": "like", "placeholder": "contains"}
    # "all" looks values up in the rows as they are now: a list made here would miss runs that come later.
    lookup = {"valuesLookup": "all", "sort": "asc", "clearable": True}
    return {"type": "list", "func": "=", "placeholder": "any", **lookup}


def _column(values: list[Any]) -> list[Any]:
    if all(isinstance(value, int | float) for value in values):
        return values
    return [_written(value) for value in values]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _beside(low: float, high: float, limits: Bounds | None) -> list[float | str | None]:
    remark = f"responses that were not graded, all wrong to all right: {bounds(limits)}" if limits else None
    return [*(None if isnan(end) else round(end, 1) for end in (low, high)), remark]


def _when(run: Run) -> str:
    try:
        return when(str(run.record.get("started", "")))
    except ValueError:
        return ""
