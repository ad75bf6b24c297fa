"""The settings of runs, as the page names them, and those that tell runs apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_analysis.dashboard.run import Run, column_name


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
