"""What a process must import before it can look up the steps of a graph: worker processes and Ray tasks alike."""

import importlib
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence

from w2s_core.engine.step import Handle
from w2s_core.errors import UserError

Imports = Mapping[str, Sequence[str]]
"""{"modules": names, "paths": folders to find them in}: the plug-ins that the user named on the command line."""


def job_imports(handles: Iterable[Handle], imports: Imports) -> dict[str, list[str]]:
    """The imports of a job as JSON: the user's plug-ins in their order, then the modules of the steps."""
    steps = sorted({handle.definition.function.__module__ for handle in handles})
    modules = dict.fromkeys([*imports.get("modules", ()), *steps])
    return {"modules": list(modules), "paths": list(imports.get("paths", ()))}


def refuse_scripts(handles: Iterable[Handle]) -> None:
    """Raises UserError where a step is defined in the script that was started: no other process can import it."""
    names = sorted({handle.name for handle in handles if handle.definition.function.__module__ == "__main__"})
    if names:
        raise UserError(
            f"step {', '.join(names)} is defined in the script that was started (__main__), which other processes "
            "cannot import: move it to a module, or run without --workers and --executor ray"
        )


def import_all(imports: Imports) -> None:
    """Import a job's modules. Raises UserError for one that this process cannot import."""
    # Appended: what the driver found first is found first here too
    sys.path += [entry for entry in imports["paths"] if entry not in sys.path]
    for module in imports["modules"]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UserError(
                f"host {socket.gethostname()} cannot import {module} ({error}): install the same version of the "
                "program on all nodes"
            ) from None
