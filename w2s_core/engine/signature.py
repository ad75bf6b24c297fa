"""A step's function as it was written: its parameters, and the file that it was loaded from."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from w2s_core.engine.canonical import Json, normalise


def parameters(function: Callable[..., Any]) -> tuple[dict[str, Json], frozenset[str]]:
    """Defaults by name, normalised, and the names that have none."""
    first, *others = inspect.signature(function).parameters.values()
    if first.name != "ctx" or any(other.kind is not other.KEYWORD_ONLY for other in others):
        raise ValueError(f"step {function.__qualname__}: the signature must be (ctx, *, name, ...)")
    where = f"step {function.__qualname__}: the default of"
    defaults = {
        other.name: normalise(other.default, f"{where} {other.name}")
        for other in others
        if other.default is not other.empty
    }
    return defaults, frozenset(other.name for other in others if other.default is other.empty)


def source_stamp(function: Callable[..., Any]) -> tuple[int, int]:
    """Time and size of the source file. Taken when the step is defined, which is when the file was just
    loaded.
    """
    stat = Path(inspect.getfile(function)).stat()
    return stat.st_mtime_ns, stat.st_size
