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

from w2s_core.engine.reach import tree_digest
from w2s_core.errors import UserError

_confirmed: dict[str, str] = {}
_planned: dict[tuple[str, Path], str] = {}


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
        if (name, path) not in _planned:
            _planned[name, path] = tree_digest(path)


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
        if not path.is_file() or tree_digest(path) != _planned[name, path]:
            raise UserError(f"the code of {name} changed since this command started: start it again")
        _confirmed[name] = _planned[name, path]
