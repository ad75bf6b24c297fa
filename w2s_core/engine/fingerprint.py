"""What code and which library versions decide a step's result, as digests that comments, formatting and the place of
the code do not move.

Nothing is imported to find out: sources are parsed (`reach.py`), and versions come from the installed packages'
metadata.
"""

import importlib
import importlib.metadata
from contextlib import suppress
from functools import cache
from pathlib import Path

from w2s_core.engine.syntax import Source, describe, parse, read_source
from w2s_core.errors import UserError

_confirmed: set[str] = set()
_planned: dict[str, tuple[bytes, Source]] = {}


@cache
def library_version(name: str) -> str:
    """The installed version of a distribution ("torch" -> "2.13.0").

    Raises:
        UserError: it is not installed, so the step could not run either.
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"the library '{name}' is needed and not installed") from None


def note_sources(files: dict[str, Path]) -> None:
    """Remember what the modules of a key hold now, for `confirm_loaded`."""
    for name, path in files.items():
        if name not in _planned:
            _planned[name] = path.read_bytes(), read_source(name, path)


def confirm_loaded(files: dict[str, Path]) -> None:
    """Import the modules that a key stands on and check that their sources are still those that the key was
    made from.

    Afterwards the process holds that code, and later edits on disk cannot reach a result under the old key.

    Raises:
        UserError: a source was edited between planning and running.
    """
    for name, path in files.items():
        if name in _confirmed:
            continue
        with suppress(ImportError):  # a part whose library is absent; a step that needs it says so itself
            importlib.import_module(name)
        if _was_edited(name, path):
            raise UserError(f"the code of {name} changed since this command started: start it again")
        _confirmed.add(name)


def _was_edited(name: str, path: Path) -> bool:
    """Whether the code of a module is another than when it was planned with; comments do not count."""
    text, source = _planned[name]
    if not path.is_file():
        return True
    return path.read_bytes() != text and describe(parse(path)) != describe(source.tree)
