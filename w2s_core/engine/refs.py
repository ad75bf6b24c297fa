"""Refs: names that point at results. A run's record is one; what a ref's JSON names by key, `gc` keeps."""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from w2s_core.engine import disk
from w2s_core.engine.canonical import Json
from w2s_core.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*(/[A-Za-z0-9][A-Za-z0-9._=,+-]*)*")


class Refs:
    """The refs of a store, one JSON file each, replaced as a whole."""

    def __init__(self, folder: Path, spare: Path) -> None:
        self._folder, self._spare = folder, spare

    def write(self, name: str, value: Json) -> None:
        """Create or replace a ref. Raises UserError for a name that is no file name (letters, digits, . _
        = , + - /).
        """
        path = self._path(name)
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
        with disk.full_is_user_error(self._folder, f"writing the record '{name}'"):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.replace_durably(path, text, self._spare)

    def read(self, name: str) -> Json:
        """A ref's value. Raises UserError when there is none of that name, or its file is damaged."""
        path = self._path(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            near = difflib.get_close_matches(name, list(self.names()), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UserError(f"nothing is named '{name}' in the store{hint}") from None
        except ValueError:
            raise UserError(f"the record '{name}' ({path}) cannot be read: it is not JSON") from None

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
            name = path.relative_to(self._folder).as_posix().removesuffix(".json")
            if name.startswith(prefix):
                yield name

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or len(name) > 200:
            raise UserError(
                f"'{name}' cannot name a run: use letters, digits and . _ = , + - (and / between words)"
            )
        return self._folder / f"{name}.json"
