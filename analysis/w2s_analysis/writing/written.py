"""What reports were made from, so that a report of runs that are as they were is not made again.

written.json   in the store, behind a checksum: by path of a report's folder, the digest of all that it was made from,
               what it printed, and the digests of its files

The file is never the truth. A report is left as it lies only while its files hold what was written, and its runs, their
results, this program and the libraries that draw are those that it was made from.
"""

import hashlib
import json
import marshal
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import w2s_analysis
import w2s_core
from w2s_analysis.reading.columns import FILES, stamps
from w2s_analysis.reading.results import ROWS
from w2s_analysis.reading.study import Study
from w2s_core.engine import disk
from w2s_core.engine.fingerprint import library_version
from w2s_core.plugins import RECIPES

NAME = "written.json"
_TITLE = "w2s reports 1 "
_FILES = (*FILES, f"/{ROWS}")
_OF_A_START = ("started", "command")
"""Fields of a record that every start of a run writes anew. What is shown of them is in `Study`."""


class WrittenReports:
    """The reports that were made of a store."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._reports: dict[str, Any] = {}
        with suppress(ValueError):
            self._reports = disk.json_object(disk.read_kept(self._path, _TITLE) or b"")

    def text(self, out: Path, source: str) -> str | None:
        """What the report in a folder printed, where it was made from this and all its files are as they were."""
        known = self._reports.get(_name(out))
        if not known or known["source"] != source:
            return None
        files = {name: _digest(out / name) for name in known["files"]}
        return str(known["text"]) if files == known["files"] else None

    def put(self, out: Path, source: str, text: str, paths: Sequence[Path]) -> None:
        """Note a report that was just written, without those whose folders are gone."""
        files = {path.relative_to(out).as_posix(): _digest(path) for path in paths}
        self._reports[_name(out)] = {"source": source, "text": text, "files": files}
        # Path.exists raises for a folder that one may not enter.
        reports = {
            name: report
            for name, report in self._reports.items()
            if os.path.exists(name)  # noqa: PTH110
        }
        disk.write_kept(self._path, json.dumps(reports).encode(), _TITLE)


def source_of(study: Study, asked: Sequence[str]) -> str | None:
    """A digest of all that a report can be made from. None for a recipe of one's own, whose code may be anywhere.

    Args:
        asked: what else decides what is written and printed: the folder as it was named, and the parts.
    """
    if study.recipe not in RECIPES.builtin:
        return None
    frames, store = study.frames, study.frames.results.store
    keys = {
        key
        for record in frames.records.values()
        for key in (*_keys(record, "steps"), *_keys(record, "targets"))
    }
    groups = [study.groups, study.detailed, study.bases]
    content = [
        _program(),
        {
            name: {field: value for field, value in record.items() if field not in _OF_A_START}
            for name, record in frames.records.items()
        },
        [(key, taken) for key in sorted(keys) if (taken := stamps(store.folder(key), _FILES))],
        frames.results.acceptances(keys),
        [[(group.name, group.commands) for group in shown] for shown in groups],
        [study.runs, study.further, study.left_out, study.command, *asked],
    ]
    # Format 2 gives equal bytes for equal values; JSON would take as long as a table of a thousand runs.
    return hashlib.sha256(marshal.dumps(content, 2)).hexdigest()


def _keys(record: Mapping[str, Any], field: str) -> list[str]:
    """The keys in a field of a record."""
    named = record.get(field)
    return [key for key in named.values() if isinstance(key, str)] if isinstance(named, dict) else []


@cache
def _program() -> list[str]:
    """The versions of what draws and computes, and a digest of all modules that a report may be made by."""
    sources = hashlib.sha256()
    for package in (w2s_analysis, w2s_core):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            sources.update(path.read_bytes())
    return [*map(library_version, ("matplotlib", "numpy", "scipy")), sources.hexdigest()]


def _name(out: Path) -> str:
    return os.path.realpath(out)  # Path.resolve raises for a link to itself


def _digest(path: Path) -> str | None:
    """Of a file; None where it is none, or cannot be read."""
    try:
        return disk.sha256_file(path)
    except OSError:
        return None
