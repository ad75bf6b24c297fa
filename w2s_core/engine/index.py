"""An index of what refs and manifests say, so that commands on a large store need not read each of them again.

index.json     a line with the checksum of the rest; then keys, the inputs of each (as places among the keys), and for
               each ref the stamp of its file and what it says

The index is never the truth. A result's inputs are part of what its key is a digest of: they cannot change. A ref is
taken from here only while its file is the one that was read. An index that is missing or damaged counts as empty, and
one that cannot be written is not.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from w2s_core.engine import disk
from w2s_core.engine.canonical import Json

KEY_LENGTH = 64
_SETTLED_S = 2.0  # a file that was changed later may be changed again within one tick of the file system's clock
Stamp = list[int]


@dataclass(frozen=True)
class RefContent:
    """What a file under refs/ says.

    Attributes:
        keys: every key that stands in it.
        head: some fields of the record.
        targets: the keys of the record's targets; None where the record is not a run's.
    """

    keys: list[str]
    head: dict[str, Json] = field(default_factory=dict)
    targets: list[str] | None = None


@dataclass
class _Content:
    inputs: dict[str, list[str]] = field(default_factory=dict)
    refs: dict[str, tuple[Stamp, RefContent]] = field(default_factory=dict)


def stamp_of(status: os.stat_result) -> Stamp:
    """Differs for another file in the same place, and for the same one after a change."""
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


class Index:
    """The index of a store, read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False

    @cached_property
    def _content(self) -> _Content:
        try:
            checksum, _, text = self._path.read_bytes().partition(b"\n") if self._path.is_file() else (b"",) * 3
            return _decoded(json.loads(text)) if checksum == _checksum(text) else _Content()
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return _Content()

    def inputs(self, key: str) -> list[str] | None:
        """The keys of a result's inputs; None where they are not known."""
        return self._content.inputs.get(key)

    def set_inputs(self, key: str, inputs: list[str]) -> None:
        """Note what a result was made from. The caller has made sure that `key` is the digest of it."""
        self._content.inputs[key] = inputs
        self._changed = True

    def ref(self, name: str, stamp: Stamp) -> RefContent | None:
        """What a ref's file says; None where another file was read, or none."""
        known, content = self._content.refs.get(name, (None, None))
        return content if known == stamp else None

    def set_ref(self, name: str, stamp: Stamp, content: RefContent) -> None:
        """Note what a ref's file says, read after its stamp was taken."""
        if stamp[3] < (time.time() - _SETTLED_S) * 1e9:
            self._content.refs[name] = stamp, content
            self._changed = True

    def keep_refs(self, names: set[str]) -> None:
        """Forget all other refs."""
        for name in self._content.refs.keys() - names:
            del self._content.refs[name]
            self._changed = True

    def save(self) -> None:
        """Write the index, if there is anything new in it."""
        if self._changed:
            text = json.dumps(_encoded(self._content), separators=(",", ":"))
            # Two writers at once can tear the file: the checksum shows it
            disk.replace_quickly(self._path, f"{_checksum(text.encode()).decode()}\n{text}")
            self._changed = False


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _encoded(content: _Content) -> Json:
    """Keys are written once each: many refs name the same ones."""
    places: dict[str, int] = {}

    def placed(keys: list[str]) -> list[int]:
        return [places.setdefault(key, len(places)) for key in keys]

    inputs = [[*placed([key]), *placed(keys)] for key, keys in content.inputs.items()]
    refs = {
        name: [stamp, ref.head, None if ref.targets is None else placed(ref.targets), placed(ref.keys)]
        for name, (stamp, ref) in content.refs.items()
    }
    return {"keys": "".join(places), "inputs": inputs, "refs": refs}


def _decoded(written: Json) -> _Content:
    text = written["keys"]
    keys = [text[start : start + KEY_LENGTH] for start in range(0, len(text), KEY_LENGTH)]
    inputs = {keys[key]: [keys[place] for place in places] for key, *places in written["inputs"]}
    refs = {
        name: (
            stamp,
            RefContent(
                [keys[place] for place in places],
                head,
                None if targets is None else [keys[place] for place in targets],
            ),
        )
        for name, (stamp, head, targets, places) in written["refs"].items()
    }
    return _Content(inputs, refs)
