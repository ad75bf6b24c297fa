"""Refs: names that point at results. A run's record is one; what a ref's JSON names by key, `gc` keeps."""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from w2s_core.engine import disk
from w2s_core.engine.canonical import Json
from w2s_core.errors import UserError

_KEY = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*(/[A-Za-z0-9][A-Za-z0-9._=,+-]*)*")


class Refs:
    """The refs of a store, one JSON file each, replaced as a whole."""

    def __init__(self, folder: Path, spare: Path) -> None:
        self._folder, self._spare = folder, spare

    def write(self, name: str, record: Mapping[str, Json]) -> None:
        """Create or replace a ref. Raises UserError for a name that is no file name (letters, digits, . _
        = , + - /).
        """
        path = self._path(name)
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
        with disk.full_is_user_error(self._folder, f"writing the record '{name}'"):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.replace_durably(path, text, self._spare)

    def read(self, name: str) -> dict[str, Json]:
        """A ref's record. Raises UserError when there is none of that name, or its file is damaged."""
        path = self._path(name)
        try:
            return disk.json_object(disk.read_plain(path))
        except FileNotFoundError:
            near = difflib.get_close_matches(name, list(self.names()), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UserError(f"nothing is named '{name}' in the store{hint}") from None
        except ValueError as error:
            raise UserError(f"the record '{name}' ({path}) cannot be read: {error}") from None

    def readable(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """Every record that can be read, by name, in order; for each other, a line on stderr."""
        for path, record in self._all():
            if isinstance(record, str):
                disk.warn(f"{path} is left out: {record}")
            else:
                yield self._name(path), record

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """The files that are no records, with the reason. What they should keep from `gc`, nobody knows."""
        return ((path, record) for path, record in self._all() if isinstance(record, str))

    def _all(self) -> Iterator[tuple[Path, dict[str, Json] | str]]:
        """Each record, or what is wrong with its file."""
        for path in sorted(self._folder.rglob("*.json")):
            try:
                data = disk.read_plain(path)
                record = disk.json_object(data)
            except FileNotFoundError:  # deleted meanwhile
                continue
            except (ValueError, OSError) as error:
                yield path, f"it cannot be read ({error}): delete it, or put a good copy in its place"
                continue
            if not _NAME.fullmatch(self._name(path)):
                yield path, f"'{self._name(path)}' cannot name a run: rename the file"
            elif not _KEY.search(data):
                yield path, "it names no result: delete it, or put a good copy in its place"
            else:
                yield path, record

    def named(self) -> Iterator[str]:
        """Every key that stands anywhere in the bytes of any file under refs/, readable as a ref or not: what `gc`
        keeps.
        """
        for place, _, files in os.walk(self._folder):
            for path in (Path(place, name) for name in files):
                with suppress(FileNotFoundError):
                    yield from (
                        key.decode() for key in _KEY.findall(path.read_bytes() if path.is_file() else b"")
                    )

    def delete(self, name: str) -> None:
        """Remove a ref; what only it kept goes with the next `gc`. Raises UserError when there is none."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise UserError(f"nothing is named '{name}' in the store") from None
        disk.fsync(self._path(name).parent)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names in order, those that start with `prefix`."""
        for path in sorted(self._folder.rglob("*.json")):
            name = self._name(path)
            if name.startswith(prefix) and _NAME.fullmatch(name):
                yield name

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix().removesuffix(".json")

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or len(name) > 200:
            raise UserError(
                f"'{name}' cannot name a run: use letters, digits and . _ = , + - (and / between words)"
            )
        return self._folder / f"{name}.json"
