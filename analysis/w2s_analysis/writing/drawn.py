"""What figures were drawn from, so that a report of runs that are as they were draws none of them again.

drawn.json   in the store, behind a checksum: by path of a figure's PNG, the digest of all that it was drawn from, and
             those of its two files

The file is never the truth. A figure is left as it lies only while its files hold what was written, and its runs, their
results, this program and matplotlib are those that it was drawn from.
"""

import hashlib
import json
import marshal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import w2s_analysis
import w2s_core
from w2s_analysis.reading.study import Study
from w2s_core.engine import disk
from w2s_core.engine.fingerprint import library_version
from w2s_core.plugins import RECIPES

NAME = "drawn.json"
_OF_A_START = ("started", "command")
"""Fields of a record that every start of a run writes anew. `Study.runs` holds what follows from their order."""


class DrawnFigures:
    """The figures that were drawn from a store."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._signatures: dict[str, list[str]] = {}
        with suppress(ValueError):
            self._signatures = disk.json_object(disk.read_kept(self._path) or b"")

    def are(self, paths: Sequence[Path], source: str) -> bool:
        """Whether the files of a figure are there, and were drawn from this."""
        known = self._signatures.get(_name(paths))
        return bool(known) and known == _signature(paths, source)

    def put(self, paths: Sequence[Path], source: str) -> None:
        """Note what a figure was just drawn from."""
        self._signatures[_name(paths)] = _signature(paths, source)

    def save(self) -> None:
        """Write the file, without figures that are gone."""
        known = {name: signature for name, signature in self._signatures.items() if Path(name).exists()}
        disk.write_kept(self._path, json.dumps(known).encode())


def source_of(study: Study) -> str | None:
    """A digest of all that figures of a study can be drawn from. None for a recipe of one's own, whose code may be
    anywhere.
    """
    if study.recipe not in RECIPES.builtin:
        return None
    records = study.frames.records
    results = study.frames.results
    keys = sorted(
        {key for record in records.values() for key in (*_keys(record, "steps"), *_keys(record, "targets"))}
    )
    shown = [[group.name for group in groups] for groups in (study.groups, study.detailed, study.bases)]
    parts = [
        _program(),
        {
            name: {field: value for field, value in record.items() if field not in _OF_A_START}
            for name, record in records.items()
        },
        [key for key in keys if results.has(key)],
        study.runs,
        shown,
    ]
    # Format 2 gives equal bytes for equal values; JSON would take as long as a table of a thousand runs.
    return hashlib.sha256(marshal.dumps(parts, 2)).hexdigest()


def _keys(record: Mapping[str, Any], field: str) -> list[str]:
    """The keys in a field of a record."""
    named = record.get(field)
    return [key for key in named.values() if isinstance(key, str)] if isinstance(named, dict) else []


@cache
def _program() -> list[str]:
    """The versions of what draws, and a digest of all modules that a figure may be made by."""
    sources = hashlib.sha256()
    for package in (w2s_analysis, w2s_core):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            sources.update(path.read_bytes())
    return [*map(library_version, ("matplotlib", "numpy", "scipy")), sources.hexdigest()]


def _name(paths: Sequence[Path]) -> str:
    return str(paths[0].resolve())


def _signature(paths: Sequence[Path], source: str) -> list[str]:
    """The source, and digests of the files; empty where one is none, or cannot be read."""
    try:
        return [source, *map(disk.sha256_file, paths)] if all(path.is_file() for path in paths) else []
    except OSError:
        return []
