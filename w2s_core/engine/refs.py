"""Refs: names that point at results. A run's record is one; what a ref's JSON names by key, `gc` keeps."""

import difflib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from w2s_core.engine import disk
from w2s_core.engine.canonical import Json
from w2s_core.engine.index import KEY_LENGTH, Index, RefContent, Stamp, stamp_of
from w2s_core.errors import UserError

C = TypeVar("C", dict[str, Json], RefContent)
_HEAD = ("recipe", "bases", "weak", "strong", "task", "seed", "started", "study", "tags", "note")
_OF_USER = ("tags", "note")
"""Fields that a user has put on a run: they stay when the run is recorded again."""
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+:-]{0,39}")
_KEY = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_NOT_HEX = bytes(byte if byte in b"0123456789abcdef" else 32 for byte in range(256))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*(/[A-Za-z0-9][A-Za-z0-9._=,+-]*)*")


class Refs:
    """The refs of a store, one JSON file each, replaced as a whole."""

    def __init__(self, folder: Path, spare: Path, index: Index) -> None:
        self._folder, self._spare, self._index = folder, spare, index

    def write(self, name: str, record: Mapping[str, Json]) -> None:
        """Create or replace a ref; `tags` and `note` of the one before stay where the new one has none.

        Raises:
            UserError: a name that is no file name (letters, digits, . _ = , + - /).
        """
        path = self._path(name)
        with suppress(OSError, ValueError):  # a damaged one is replaced
            before = disk.read_object(path)
            record = {field: before[field] for field in _OF_USER if field in before} | dict(record)
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
        with disk.full_is_user_error(self._folder, f"writing the record '{name}'"):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.replace_durably(path, text, self._spare)

    def read(self, name: str) -> dict[str, Json]:
        """A ref's record. Raises UserError when there is none of that name, or its file is damaged."""
        path = self._path(name)
        try:
            return disk.read_object(path)
        except FileNotFoundError:
            near = difflib.get_close_matches(name, list(self.names()), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UserError(f"nothing is named '{name}' in the store{hint}") from None
        except ValueError as error:
            raise UserError(f"the record '{name}' ({path}) cannot be read: {error}") from None

    def readable(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """Every record that can be read, by name, in order; for each other, a line on stderr."""
        return self._named(self._all())

    def damaged(self, *, quick: bool = False) -> Iterator[tuple[str, str]]:
        """The files under refs/ that are no records, with the reason. What they should keep from `gc`, nobody knows.

        `quick`: files that have not changed are not read again.
        """
        contents = self.scan() if quick else self._all()
        return ((name, content) for name, content in contents if isinstance(content, str))

    def _all(self) -> Iterator[tuple[str, dict[str, Json] | str]]:
        for name, _ in self._files():
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield name, self._read(name)[0]

    def contents(self) -> Iterator[tuple[str, RefContent]]:
        """As `readable`, of each record only what the index holds; a record that has not changed is not read again."""
        return self._named(self.scan())

    def _named(self, contents: Iterable[tuple[str, C | str]]) -> Iterator[tuple[str, C]]:
        """What refs hold, by their names; a line on stderr for a file that is not understood."""
        for name, content in contents:
            if isinstance(content, str):
                disk.warn(f"{self._folder / name} is left out: {content}")
            elif name.endswith(".json"):
                yield name.removesuffix(".json"), content

    def scan(self) -> Iterator[tuple[str, RefContent | str]]:
        """What every file under refs/ says, a ref by its name or not, or why that is not known; in order."""
        files = self._files()
        for name, stamp in files:
            content: RefContent | str | None = self._index.ref(name, stamp)
            if content is None:
                try:
                    record, data = self._read(name)
                except FileNotFoundError:  # deleted meanwhile
                    continue
                content = (
                    record if isinstance(record, str) else self._note(name, stamp, record, keys_in(data))
                )
            yield name, content
        self._index.keep_refs({name for name, _ in files})
        self._index.save()

    def _note(self, name: str, stamp: Stamp, record: dict[str, Json], keys: list[str]) -> RefContent:
        targets = record.get("targets")
        target_keys = list(targets.values()) if isinstance(targets, dict) else None
        if target_keys is not None and not set(keys).issuperset(map(str, target_keys)):
            target_keys = None  # no run's: its targets are results
        head = {field: record[field] for field in _HEAD if field in record}
        return self._index.set_ref(name, stamp, head, target_keys, keys)

    def _read(self, name: str) -> tuple[dict[str, Json] | str, bytes]:
        """The record of a file under refs/, or what is wrong with it; and the file's bytes.

        Raises:
            FileNotFoundError: it is gone.
        """
        path = self._folder / name
        is_ref = name.endswith(".json")
        if name.endswith("/"):
            return "the folder cannot be listed", b""
        if not is_ref and not path.is_file():
            return {}, b""  # a link to nothing, a pipe
        try:
            data = disk.read_plain(path)
            record = disk.json_object(data) if is_ref else {}
        except FileNotFoundError:
            raise
        except (ValueError, OSError) as error:
            return f"it cannot be read ({error}): delete it, or put a good copy in its place", b""
        if is_ref and not _NAME.fullmatch(name.removesuffix(".json")):
            return f"'{name.removesuffix('.json')}' cannot name a run: rename the file", data
        if is_ref and not _KEY.search(data):
            return "it names no result: delete it, or put a good copy in its place", data
        return record, data

    def _files(self) -> list[tuple[str, Stamp]]:
        """What lies under refs/, in order: the path there, and the stamp of a plain file.

        Of folders, those with a ref's name are in it, and, with a slash at the end, those that cannot be listed.
        """
        files: list[tuple[str, Stamp]] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                entries = list(os.scandir(self._folder / folder))
            except OSError:
                files.append((f"{folder or '.'}/", []))
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                    if not name.endswith(".json"):
                        continue
                with suppress(FileNotFoundError):  # deleted meanwhile
                    status = entry.stat(follow_symlinks=False)
                    files.append((name, stamp_of(status) if stat.S_ISREG(status.st_mode) else []))
        return sorted(files, key=lambda file: file[0].split("/"))

    def rename(self, old: str, new: str, record: Mapping[str, Json]) -> None:
        """Put a ref's record under another name. A kill in between leaves it under both.

        Raises:
            UserError: the new name is taken, or cannot name a run.
        """
        if os.path.lexists(self._path(new)):
            raise UserError(
                f"'{new}' is the name of another run: choose a new one, or `w2s delete {new}` first"
            )
        self.write(new, record)
        self.delete(old)

    def move_to(self, name: str, folder: Path) -> None:
        """Move a ref's file to a folder of the same disk, under its name. Raises UserError when there is none."""
        target = folder / f"{name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._path(name).rename(target)
        except FileNotFoundError:
            raise UserError(f"nothing is named '{name}' in the store") from None
        disk.fsync(target.parent)
        disk.fsync(self._path(name).parent)

    def take_back(self, folder: Path) -> int:
        """Move refs back from such a folder, but for those whose name is taken. Returns how many."""
        count = 0
        for path in sorted(folder.rglob("*.json")):
            name = path.relative_to(folder).as_posix().removesuffix(".json")
            if _NAME.fullmatch(name) and path.is_file() and not os.path.lexists(self._path(name)):
                self._path(name).parent.mkdir(parents=True, exist_ok=True)
                path.rename(self._path(name))
                count += 1
        return count

    def delete(self, name: str) -> None:
        """Remove a ref; what only it kept goes with the next `gc`. Raises UserError when there is none."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise UserError(f"nothing is named '{name}' in the store") from None
        disk.fsync(self._path(name).parent)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names in order, those that start with `prefix`."""
        for path, _ in self._files():
            name = path.removesuffix(".json")
            if path != name and name.startswith(prefix) and _NAME.fullmatch(name):
                yield name

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._folder / f"{name}.json"


def check_name(name: str) -> None:
    """Refuse what cannot name a run.

    Raises:
        UserError: it has other characters, or is longer than 200.
    """
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise UserError(
            f"'{name}' cannot name a run: use letters, digits and . _ = , + - (and / between words)"
        )


def keys_in(data: bytes) -> list[str]:
    """Every key that stands anywhere in some bytes, each once: what `_KEY` finds, in a third of the time."""
    words = {word for word in data.translate(_NOT_HEX).split() if len(word) == KEY_LENGTH}
    return [word.decode() for word in sorted(words)]
