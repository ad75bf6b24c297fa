"""Names of results by what their steps were given, under which equal work is found that has another key.

The *content name* of a step is the digest of its own part of the key (step, version, params, fingerprint) and of the
contents of its inputs in place of their keys. Steps with one content name have equal results. The *stream name* leaves
out what the step declares under `extends`: results of one stream hold parts of each other. Steps that compute in
floating point (`gpu=True`) have the machine in their names, whose sums another machine rounds otherwise.

contents/<n[:2]>/<name>    the keys of results with that name, one a line in quotes. Never the truth: each manifest
                           has its own names, a line that does not fit counts for nothing, and `verify` adds what is
                           missing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.engine import disk
from w2s_core.engine.canonical import Json, digest
from w2s_core.engine.processor import machine_name
from w2s_core.engine.spec import map_leaves
from w2s_core.engine.step import Handle

_KEY = re.compile(rb'"([0-9a-f]{64})"')
Manifest = Mapping[str, Json]


@dataclass(frozen=True)
class Names:
    """The names of a step. `work` is that of the lock for all that would compute the same; `stream` is None where the
    step extends nothing.
    """

    content: str
    work: str
    stream: str | None

    def record(self) -> dict[str, Json]:
        """What the manifest keeps."""
        return {"name": self.content, "stream": self.stream}


def names_of(handle: Handle, content_of: Callable[[str], str], runtime: Mapping[str, Any]) -> Names:
    """The names of a step, from the contents of its inputs by their keys."""
    definition = handle.definition
    own: dict[str, Json] = {
        "step": definition.name,
        "version": definition.version,
        "params": handle.params,
        "inputs": {
            name: map_leaves(value, lambda parent: content_of(parent.key))
            for name, value in handle.inputs.items()
        },
        "fingerprint": definition.fingerprint,
    }
    if definition.gpu:
        own["machine"] = machine_name(str(runtime.get("device", "auto")))
    content = digest(own)
    if not definition.extends:
        return Names(content, content, None)
    own["params"] = without(handle.params, definition.extends)
    work = digest(own)
    own["inputs"] = without(own["inputs"], definition.extends)
    return Names(content, work, digest(own))


def without(named: Mapping[str, Json], names: tuple[str, ...]) -> dict[str, Json]:
    """What is not under one of the names."""
    return {name: value for name, value in named.items() if name not in names}


def content_of(manifest: Manifest) -> str:
    """The digest of what a result holds."""
    return digest({name: entry["sha256"] for name, entry in manifest["files"].items()})


class Registry:
    """The keys of results by their names."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, key: str) -> None:
        """Note that a result has a name. Its loss costs a computation, so a failure to write is no error."""
        path = self._place(name)
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
        disk.append_line(path, key)

    def add_all(self, manifest: Manifest) -> None:
        """Note all names of a result that are not noted yet."""
        for name in names_in(manifest):
            if manifest["key"] not in self.keys(name):
                self.add(name, manifest["key"])

    def keys(self, name: str) -> list[str]:
        """The keys that were noted under a name, the latest first; results may be gone."""
        try:
            data = disk.read_plain(self._place(name))
        except (OSError, ValueError):
            return []
        return list(dict.fromkeys(key.decode() for key in reversed(_KEY.findall(data))))

    def paths(self) -> Iterator[Path]:
        """All files."""
        return (path for path in self._root.glob("*/*") if path.is_file())

    def _place(self, name: str) -> Path:
        return self._root / name[:2] / name


def names_in(manifest: Manifest) -> list[str]:
    """The names that a manifest gives its result; none in those of earlier versions."""
    contents = manifest.get("contents") or {}
    return [name for name in (contents.get("name"), contents.get("stream")) if name]


def worth_s(manifest: Manifest) -> float:
    """The seconds that a result would have taken without any other: what it took, and what was saved."""
    saved = (manifest.get("reused") or {}).get("saved_s", 0.0)
    return float(manifest.get("duration_s", 0.0)) + float(saved)
