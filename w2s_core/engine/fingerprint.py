"""What code and which library versions decide a step's result, as digests that comments, formatting and the place of
the code do not move.

Nothing is imported to find out: sources are parsed (`reach.py`), and versions come from the installed packages'
metadata.
"""

import ast
import importlib
import importlib.metadata
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from w2s_core.engine.syntax import describe
from w2s_core.errors import UserError

_confirmed: dict[str, bytes] = {}


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


def confirm_loaded(files: Mapping[str, tuple[Path, bytes]]) -> None:
    """Import the modules that a key stands on and check that their sources are still those that the key was
    made from: for each its file and what that held.

    Afterwards the process holds that code, and later edits on disk cannot reach a result under the old key.

    Raises:
        UserError: a source was edited between planning and running.
    """
    for name, (path, text) in files.items():
        if _confirmed.get(name) == text:
            continue
        with suppress(ImportError):  # a part whose library is absent; a step that needs it says so itself
            importlib.import_module(name)
        if _was_edited(path, text):
            raise UserError(f"the code of {name} changed since this command started: start it again")
        _confirmed[name] = text


def _was_edited(path: Path, text: bytes) -> bool:
    """Whether a file's code is another than when it was planned with; comments do not count."""
    if not path.is_file():
        return True
    today = path.read_bytes()
    return today != text and describe(ast.parse(today)) != describe(ast.parse(text))
