"""Steps that differ in a length alone: the longer one starts where the shorter one ended, so the shorter goes first."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from w2s_core.engine.step import Handle


def shorter(handles: Mapping[str, Handle]) -> dict[str, str]:
    """For each step that extends others of these: the key of the longest of them."""
    streams: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for key, handle in handles.items():
        if handle.stream:
            name, length = handle.stream
            streams[name].append((length, key))
    return {
        longer: key for members in streams.values() for (_, key), (_, longer) in pairwise(sorted(members))
    }


def base_of(handle: Handle) -> str | None:
    """The key of what the step loads in the end, following the inputs that its chain loads; None: it loads nothing."""
    loaded = handle
    while isinstance(source := loaded.inputs.get(loaded.definition.loads or ""), Handle):
        loaded = source
    return None if loaded is handle else loaded.key
