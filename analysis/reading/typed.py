"""Commands as reports show them."""

import shlex
from collections.abc import Sequence
from pathlib import Path


def written(command: Sequence[str]) -> str:
    """A command as one types it, with paths relative to the working folder: a report must not tell of a machine."""
    return shlex.join(_relative(word) for word in command)


def _relative(word: str) -> str:
    name, equals, value = word.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return word
    here = Path.cwd()
    near = path.relative_to(here).as_posix() if path.is_relative_to(here) else "/".join(path.parts[-2:])
    return name + equals + near
