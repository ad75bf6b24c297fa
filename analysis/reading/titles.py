"""What a run's targets are called, their order, and what each is to its method: all from the runs' own records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from w2s_core.recipes.recipe import Outline
from w2s_core.recipes.record import outline

ALIAS: Final = " = "
"""A title may end in another name of the same model, `NAME = ALIAS`."""


def outline_of(records: Iterable[Mapping[str, Any]]) -> list[Outline]:
    """The targets of some runs of one recipe, in an order that keeps the order of each run's own outline."""
    old_targets: dict[str, str] = {}
    listed: list[Any] = []
    outlines: list[list[Outline]] = []
    for record in records:
        if "outline" not in record:
            old_targets |= record["targets"]
        elif record["outline"] not in listed:
            listed.append(record["outline"])
            outlines.append(outline(record))
    # Records of before have labels alone, which their recipe puts in order: all at once, since it knows the order.
    return merge(([outline({"targets": old_targets})] if old_targets else []) + outlines)


def merge(outlines: Iterable[Sequence[Outline]]) -> list[Outline]:
    """One list of all targets: one that an earlier list lacks stands before the target that follows it in its own."""
    merged: list[Outline] = []
    for entries in outlines:
        places = {entry.label: i for i, entry in enumerate(merged)}
        place = len(merged)
        before: dict[int, list[Outline]] = {}
        for entry in reversed(entries):
            place = places.get(entry.label, place)
            if entry.label not in places:
                before.setdefault(place, []).insert(0, entry)
        merged = [
            target for i in range(len(merged) + 1) for target in [*before.get(i, []), *merged[i : i + 1]]
        ]
    return merged


def without_alias(title: str) -> str:
    """A title without the other name of the same model."""
    return title.partition(ALIAS)[0]


def titles_of(record: Mapping[str, Any]) -> dict[str, str]:
    """What tables call the targets of a run, by label, in order."""
    return {entry.label: entry.title for entry in outline_of([record])}
