"""Digests of code in a file of the user's cache folder, so that a process need not parse all sources again.

The file holds what was looked at, modules with the digest of their bytes, and the digests that were made from it. Its
content is not trusted: a file that is damaged, of another form or of another identity counts as absent. One that cannot
be written is not.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from w2s_core.engine import disk

Table = dict[str, str]


@dataclass
class Digests:
    """What a file holds.

    Attributes:
        modules: digests of modules' sources by name; empty for a module that was looked for and has none.
        tops: top packages and modules, with "own" for those that are followed.
        steps: for each step its digests by module.
    """

    modules: Table = field(default_factory=dict)
    tops: Table = field(default_factory=dict)
    steps: dict[str, Table] = field(default_factory=dict)


class DigestCache:
    """The file of digests of one place.

    Args:
        place: names the code that is followed. Few files serve all places: two with one file take turns.
        identity: what the digests depend on besides the place and the sources.
    """

    def __init__(self, place: str, identity: str) -> None:
        self._identity = f"{place} {identity}"
        folder = cache_folder()
        self._path = folder / f"digests-{sha(place)[:2]}.json" if folder else None

    def read(self) -> Digests:
        """The digests of the file; none where it cannot be used."""
        if self._path is None:
            return Digests()
        try:
            content = json.loads(disk.read_kept(self._path) or b"null")
        except (ValueError, RecursionError):
            return Digests()
        return Digests(**content["digests"]) if self._is_valid(content) else Digests()

    def write(self, digests: Digests) -> None:
        """Replace the file."""
        if self._path is None:
            return
        text = json.dumps({"identity": self._identity, "digests": asdict(digests)})
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_kept(self._path, text.encode())

    def _is_valid(self, content: Any) -> bool:
        if not isinstance(content, dict) or content.get("identity") != self._identity:
            return False
        digests = content.get("digests")
        return (
            isinstance(digests, dict)
            and digests.keys() == {"modules", "tops", "steps"}
            and isinstance(digests["steps"], dict)
            and all(
                _is_table(table)
                for table in (digests["modules"], digests["tops"], *digests["steps"].values())
            )
        )


def sha(*texts: str) -> str:
    """The sha256 of lines, in hexadecimal."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "backslashreplace")).hexdigest()


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def cache_folder() -> Path | None:
    """The folder for caches of this program; None where the user has no home."""
    with suppress(RuntimeError):
        for base in (Path(os.environ.get("XDG_CACHE_HOME", "")), Path.home() / ".cache"):
            if base.is_absolute():
                return base / "w2s"
    return None
