"""Commands as reports show them."""

import shlex
from collections.abc import Sequence
from pathlib import Path


def written(command: Sequence[str]) -> str:
    """A command that can be pasted: paths inside the working folder relative to it, all others whole."""
    return shlex.join(_relative(word) for word in command)


def _relative(word: str) -> str:
    name, equals, value = word.rpartition("=")
    path, here = Path(value), Path.cwd()
    if not path.is_relative_to(here):  # a relative path is none either
        return word
    return name + equals + path.relative_to(here).as_posix()
