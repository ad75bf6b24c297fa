"""Specs, which are handles as JSON, and the structures of inputs in them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from w2s_core.engine.canonical import Json, digest

Structure = (
    Any  # a handle (or a key, or a Path), or a list or a dict of them, with None where nothing was given
)

IDENTITY = ("step", "version", "params", "inputs", "fingerprint")


def key_of(spec: Mapping[str, Json]) -> str:
    """The key that a spec's own parts give; differs from `spec["key"]` only if the spec was altered."""
    return digest({name: spec[name] for name in IDENTITY})


def is_earlier_format(spec: Mapping[str, Json]) -> bool:
    """Whether a spec was made when fingerprints held the names of modules: its digests compare with none of today."""
    return "all_code" not in spec


def spec_inputs(spec: Mapping[str, Json]) -> list[str]:
    """The keys of a spec's inputs, in order of its arguments."""
    return [key for value in spec["inputs"].values() for key in leaves(value)]


def leaves(value: Structure) -> Iterator[Any]:
    """The handles (or keys) in a structure."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value


def map_leaves(value: Structure, change: Callable[[Any], Any]) -> Structure:
    """The same structure with each leaf changed."""
    if isinstance(value, dict):
        return {name: map_leaves(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_leaves(item, change) for item in value]
    return None if value is None else change(value)
