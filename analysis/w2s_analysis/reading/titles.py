"""What a run's targets are called, their order, and what each is to its method: all from the runs' own records."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from w2s_core.recipes.recipe import Outline
from w2s_core.recipes.record import outline

ALIAS: Final = " = "
"""A title may end in another name of the same model, `NAME = ALIAS`."""


def outline_of(records: Iterable[Mapping[str, Any]]) -> list[Outline]:
    """The targets of some runs of one recipe, in an order that keeps the order of each run's own outline."""
    old_targets: set[str] = set()
    listed: list[Any] = []
    outlines: list[Sequence[Outline]] = []
    for record in records:
        if "outline" not in record:
            old_targets |= record["targets"].keys()
        elif record["outline"] not in listed:
            listed.append(record["outline"])
            outlines.append(outline(record))
    # Records of before have labels alone, which their recipe puts in order: all at once, since it knows the order.
    return merge([_old_outline(frozenset(old_targets)), *outlines])


@lru_cache(maxsize=64)
def _old_outline(labels: frozenset[str]) -> tuple[Outline, ...]:
    # Cached, since finding the recipe that knows the order reads the entry points of all installed packages.
    return tuple(outline({"targets": dict.fromkeys(sorted(labels))})) if labels else ()


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


def distinct(titles: Mapping[str, str]) -> dict[str, str]:
    """Titles by name; where several names share a title, with the name: a table's rows and columns go by title."""
    counts = Counter(titles.values())
    return {name: title if counts[title] == 1 else f"{title} ({name})" for name, title in titles.items()}
