"""The frame behind the runs table, and how each of its columns is filtered. Pure: no widget is made here."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from analysis.dashboard.catalogue import Run, Snapshot
from analysis.dashboard.columns import differing
from w2s_core.cli.render import when

if TYPE_CHECKING:
    import pandas as pd

LOW: Final = "|low"
HIGH: Final = "|high"
SHOWN_FIELDS: Final = 8
LISTED_VALUES: Final = 40


def runs_frame(snapshot: Snapshot, fields: Sequence[str], metrics: Sequence[str]) -> "pd.DataFrame":
    """One row a run, the latest first: run, started, state, the fields, and for each metric value, low and high.

    Metrics are in per cent, nan where not known. A column of fields has numbers where all its values are numbers, and
    text otherwise.
    """
    import pandas as pd

    names = list(snapshot.runs)
    shown = settings(list(snapshot.runs.values()))
    columns: dict[str, Any] = {
        "run": names,
        "started": [_when(snapshot.runs[name]) for name in names],
        "state": [snapshot.state(name) for name in names],
    }
    for field in fields:
        columns[field] = _column([one.get(field, "") for one in shown])
    for metric in metrics:
        found = [snapshot.value(name, metric) or (float("nan"),) * 3 for name in names]
        for i, suffix in enumerate(("", LOW, HIGH)):
            columns[metric + suffix] = pd.array([one[i] for one in found], dtype="float64")
    return pd.DataFrame(columns, columns=list(columns))


def settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Each run's fields. Two models that share a short name are shown by their whole paths."""
    found = [dict(run.fields) for run in runs]
    for side in ("weak", "strong"):
        paths: dict[Any, set[str]] = {}
        for run, fields in zip(runs, found, strict=True):
            paths.setdefault(fields.get(side), set()).add(_path(run, side))
        for run, fields in zip(runs, found, strict=True):
            if len(paths[fields.get(side)]) > 1:
                fields[side] = _path(run, side)
    return found


def default_fields(snapshot: Snapshot) -> list[str]:
    """The settings that differ between the runs, at most eight; the others can be added on the page."""
    return differing(settings(list(snapshot.runs.values())))[:SHOWN_FIELDS]


def all_fields(snapshot: Snapshot) -> list[str]:
    """Every setting that any run has, those that differ first."""
    found = settings(list(snapshot.runs.values()))
    names = dict.fromkeys(name for one in found for name in one)
    return list(dict.fromkeys([*differing(found), *names]))


def header_filter(frame: "pd.DataFrame", column: str, *, metric: bool = False) -> dict[str, Any]:
    """A filter in the column's header: at least, for metrics; one of its values; or words in it.

    Values that could be read as HTML are filtered by words: the list of values would not escape them.
    """
    if metric:
        return {"type": "number", "func": ">=", "placeholder": "≥"}
    values = frame[column].unique().tolist()
    plain = all(escape(str(one)) == str(one) for one in values)
    if column in ("run", "started") or len(values) > LISTED_VALUES or not plain:
        return {"type": "input", "func": "like", "placeholder": "contains"}
    listed = {
        "valuesLookup": "all",
        "sort": "asc",
        "clearable": True,
    }  # as the rows are now, not as they were
    return {"type": "list", "func": "=", "placeholder": "any", **listed}


def _column(values: list[Any]) -> list[Any]:
    if all(isinstance(one, int | float) for one in values):
        return values
    return [one if isinstance(one, str) else f"{one:g}" for one in values]


def _path(run: Run, side: str) -> str:
    experiment = run.record.get("experiment")
    return str(experiment.get(side, "")) if isinstance(experiment, dict) else ""


def _when(run: Run) -> str:
    try:
        return when(str(run.record.get("started", "")))
    except ValueError:
        return ""
