"""Steps that differ in their size alone: one starts where the other ended, or is cut from it, so they go in order."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from w2s_core.engine.step import Handle


def before(handles: Mapping[str, Handle]) -> dict[str, str]:
    """For each step that others of these should precede: the key of the last of them."""
    streams: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for key, handle in handles.items():
        if handle.stream:
            name, place = handle.stream
            streams[name].append((place, key))
    return {after: key for members in streams.values() for (_, key), (_, after) in pairwise(sorted(members))}


def base_of(handle: Handle) -> str | None:
    """The key of what the step loads in the end, following the inputs that its chain loads; None: it loads nothing."""
    loaded = handle
    while isinstance(source := loaded.inputs.get(loaded.definition.loads or ""), Handle):
        loaded = source
    return None if loaded is handle else loaded.key
