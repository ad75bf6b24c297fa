"""An index of what refs and manifests say, so that commands on a large store need not read each of them again.

index.json     lines: the format and the checksum of the rest; all keys, one after another; the inputs of each, with
               a comma behind; a JSON object with the stamp and content of each ref

The index is never the truth. A result's inputs are part of what its key is a digest of: they cannot change. A ref is
taken from here only while its file is the one that was read. An index that is missing or damaged counts as empty, and
one that cannot be written is not.

Keys are written once each, and else as places among them, in texts that are taken apart when they are asked for.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from w2s_core.engine import disk
from w2s_core.engine.canonical import Json

FORMAT = "w2s index 2"
KEY_LENGTH = 64
_SETTLED_S = 2.0
"""A file that was changed later may be changed again within one tick of the file system's clock."""
_UNKNOWN = "?"
Stamp = list[int]


@dataclass(frozen=True)
class RefContent:
    """What a file under refs/ says; `head` are some fields of the record."""

    head: dict[str, Json]
    target_places: str | None
    places: str
    table: list[str]

    @property
    def targets(self) -> list[str] | None:
        """The keys of the record's targets; None where the record is not a run's."""
        return None if self.target_places is None else _keys_at(self.table, self.target_places)


def keys_of(contents: Sequence[RefContent]) -> set[str]:
    """Every key that stands in any of some files of one store."""
    places = set(" ".join(content.places for content in contents).split())
    return {contents[0].table[int(place)] for place in places}


def stamp_of(status: os.stat_result) -> Stamp:
    """Differs for another file in the same place, and for the same one after a change."""
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def is_settled(stamp: Stamp) -> bool:
    """Whether any later change of the file gives it another stamp."""
    return stamp[-1] < (time.time() - _SETTLED_S) * 1e9


class Index:
    """The index of a store, read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False

    @cached_property
    def _lines(self) -> list[str]:
        """The keys, their inputs, and the refs, as they stand in the file."""
        data = disk.read_kept(self._path, f"{FORMAT} ")
        return ["", "", "{}"] if data is None else data.decode().split("\n")

    @cached_property
    def _table(self) -> list[str]:
        text = self._lines[0]
        return [text[start : start + KEY_LENGTH] for start in range(0, len(text), KEY_LENGTH)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return dict(zip(self._table, count(), strict=False))

    @cached_property
    def _inputs(self) -> dict[str, str]:
        # Keys that were added since stand behind those of the file: they have no inputs here.
        return dict(zip(self._table, self._lines[1].split(",")[:-1], strict=False))

    @cached_property
    def _refs(self) -> dict[str, tuple[Stamp, dict[str, Json], str | None, str]]:
        refs: dict[str, tuple[Stamp, dict[str, Json], str | None, str]] = json.loads(self._lines[2])
        return refs

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys whose inputs are not known."""
        return [key for key in keys if self._inputs.get(key, _UNKNOWN) == _UNKNOWN]

    def inputs(self, keys: Iterable[str]) -> set[str]:
        """The keys of all inputs of some results, whose inputs are known."""
        places = set(" ".join(self._inputs[key] for key in keys).split())
        return {self._table[int(place)] for place in places}

    def set_inputs(self, key: str, inputs: Iterable[str]) -> None:
        """Note what a result was made from. The caller has made sure that `key` is the digest of it."""
        self._placed([key])
        self._inputs[key] = self._placed(inputs)
        self._changed = True

    def ref(self, name: str, stamp: Stamp) -> RefContent | None:
        """What a ref's file says; None where another file was read, or none."""
        entry = self._refs.get(name)
        return RefContent(*entry[1:], self._table) if entry and entry[0] == stamp else None

    def set_ref(
        self, name: str, stamp: Stamp, head: dict[str, Json], targets: list[str] | None, keys: list[str]
    ) -> RefContent:
        """Note what a ref's file says, read after its stamp was taken; a file without a stamp is not noted."""
        content = RefContent(
            head, None if targets is None else self._placed(targets), self._placed(keys), self._table
        )
        if stamp and is_settled(stamp):
            self._refs[name] = stamp, head, content.target_places, content.places
            self._changed = True
        return content

    def keep_refs(self, names: set[str]) -> None:
        """Forget all other refs."""
        for name in self._refs.keys() - names:
            del self._refs[name]
            self._changed = True

    def save(self) -> None:
        """Write the index, if there is anything new in it."""
        if self._changed:
            inputs = "".join(f"{self._inputs.get(key, _UNKNOWN)}," for key in self._table)
            text = "\n".join(["".join(self._table), inputs, json.dumps(self._refs, separators=(",", ":"))])
            disk.write_kept(self._path, text.encode(), f"{FORMAT} ")
            self._changed = False

    def _placed(self, keys: Iterable[str]) -> str:
        places = []
        for key in keys:
            place = self._places.setdefault(key, len(self._table))
            if place == len(self._table):
                self._table.append(key)
            places.append(str(place))
        return " ".join(places)


def _keys_at(table: list[str], places: str) -> list[str]:
    return [table[int(place)] for place in places.split()]
