"""The frame behind the runs table, and how each of its columns is filtered. Pure: no widget is made here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from w2s_analysis.dashboard.catalogue import Snapshot
from w2s_analysis.dashboard.look import bounds
from w2s_analysis.dashboard.run import Run, column_name
from w2s_core.cli.render import when

if TYPE_CHECKING:
    import pandas as pd

LOW: Final = "|low"
HIGH: Final = "|high"
OPEN: Final = "|open"
SHOWN_FIELDS: Final = 8
LISTED_VALUES: Final = 40


def runs_frame(snapshot: Snapshot, fields: Sequence[str], results: Sequence[str]) -> "pd.DataFrame":
    """One row a run, the latest first: run, started, state, the fields, and for each result value, low and high.

    A result that responses which were not graded leave open in any run has a column of words on that too. Results are
    in per cent, nan where not known. A column of fields has numbers where all its values are numbers, and text
    otherwise.
    """
    import pandas as pd

    names = list(snapshot.runs)
    fields_by_run = settings(list(snapshot.runs.values()))
    columns: dict[str, Any] = {
        "run": names,
        "started": [_when(snapshot.runs[name]) for name in names],
        "state": [snapshot.state(name) for name in names],
    }
    for field in fields:
        columns[field] = _column([values.get(field, "") for values in fields_by_run])
    for result in results:
        estimates = [snapshot.value(name, result) or (float("nan"),) * 3 for name in names]
        for i, suffix in enumerate(("", LOW, HIGH)):
            columns[result + suffix] = pd.array([estimate[i] for estimate in estimates], dtype="float64")
        remarks = [_remark(snapshot, name, result) for name in names]
        if any(remarks):
            columns[result + OPEN] = remarks
    return pd.DataFrame(columns, columns=list(columns))


def settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Each run's fields. A base model is told by its content; one that lay in several places goes by the latest."""
    fields_by_run = [dict(run.fields) for run in runs]
    for name in dict.fromkeys(name for run in runs for name in run.bases):
        places: dict[str, str] = {}
        for run in runs:
            if name in run.bases:
                places.setdefault(run.model_content(name), run.model_path(name) or run.bases[name])
        ends = _told_apart(places)
        for run, fields in zip(runs, fields_by_run, strict=True):
            if name in run.bases:
                fields[column_name(name)] = ends[run.model_content(name)]
    return fields_by_run


def _told_apart(places: Mapping[str, str]) -> dict[str, str]:
    """The ends of paths by content, each as long as it takes; two contents of one path are told by their digests."""
    parts = {content: Path(place).parts for content, place in places.items()}
    ends: dict[str, str] = {}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        counts = Counter(whole[-depth:] for whole in parts.values())
        for content, whole in parts.items():
            if content not in ends and counts[whole[-depth:]] == 1:
                ends[content] = str(Path(*whole[-depth:]))
    return {content: ends.get(content) or f"{place} ({content[-8:]})" for content, place in places.items()}


def differing(fields: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that tell runs apart, in the order of the first run.

    Those that differ between runs of one recipe, where a missing one differs; and those that all runs have and that
    differ. A field that only one recipe has tells nothing that the recipe does not.
    """
    by_recipe: dict[Any, list[Mapping[str, Any]]] = {}
    for values in fields:
        by_recipe.setdefault(values.get("recipe"), []).append(values)
    names = dict.fromkeys(name for values in fields for name in values)
    return [
        name
        for name in names
        if any(_differs(group, name) for group in by_recipe.values())
        or (all(name in values for values in fields) and _differs(fields, name))
    ]


def _differs(fields: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({repr(values.get(name)) for values in fields}) > 1


def default_fields(snapshot: Snapshot) -> list[str]:
    """The settings that differ between the runs, at most eight; the others can be added on the page."""
    return differing(settings(list(snapshot.runs.values())))[:SHOWN_FIELDS]


def all_fields(snapshot: Snapshot) -> list[str]:
    """Every setting that any run has, those that differ first."""
    fields_by_run = settings(list(snapshot.runs.values()))
    names = dict.fromkeys(name for fields in fields_by_run for name in fields)
    return list(dict.fromkeys([*differing(fields_by_run), *names]))


def group_values(snapshot: Snapshot, field: str) -> list[str]:
    """What each run's group is called where runs are grouped by a field.

    Runs of two recipes are never one group: a field of one name need not mean the same to both.
    """
    fields_by_run = settings(list(snapshot.runs.values()))
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


def _remark(snapshot: Snapshot, name: str, result: str) -> str:
    limits = snapshot.bounds(name, result)
    return f"responses that were not graded, all wrong to all right: {bounds(limits)}" if limits else ""


def _when(run: Run) -> str:
    try:
        return when(str(run.record.get("started", "")))
    except ValueError:
        return ""
