"""What a shell completes: runs and studies of the store, and an experiment's fields. Files are click's own part."""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, add_completion_class

from w2s_core.errors import UserError

if TYPE_CHECKING:
    from w2s_core.engine import Store

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


@add_completion_class
class _Bash(BashComplete):
    """click's script for bash, which would set a space after `field=`."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace"
    )


def _completion(candidates: Callable[[click.Context, str], Iterable[str]]) -> Complete:
    """A function for `shell_complete`. What goes wrong leaves nothing to complete, and no line on the terminal."""

    @wraps(candidates)
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(UserError, OSError, ValueError):
            return [name for name in candidates(context, incomplete) if name.startswith(incomplete)]
        return []

    return complete


@_completion
def complete_run(context: click.Context, incomplete: str) -> Iterable[str]:
    """The names of runs."""
    return _store(context).refs.names(incomplete)


@_completion
def complete_study(context: click.Context, incomplete: str) -> Iterable[str]:
    """The names of the studies that runs are of."""
    studies = {content.head.get("study") for _, content in _store(context).refs.contents()}
    return sorted(study for study in studies if isinstance(study, str))


@_completion
def complete_override(context: click.Context, incomplete: str) -> Iterator[str]:
    """The fields of the experiment that the command names, or of the default recipe; after `=`, a field's choices."""
    from w2s_core.cli.listing import overrides
    from w2s_core.experiment import recipe_of
    from w2s_core.strict_yaml import read_yaml

    config = context.params.get("config")
    tree, lines = read_yaml(config, "an experiment") if config else ({}, {})
    return overrides(recipe_of(tree, config or Path(), lines).fields, incomplete)


def _store(context: click.Context) -> "Store":
    from w2s_core.engine import Store

    folder = context.find_root().params["store"]
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no store")  # which opening it would make
    return Store(folder)


run_argument = click.argument("run_name", metavar="RUN", shell_complete=complete_run)
overrides_argument = click.argument("overrides", nargs=-1, shell_complete=complete_override)
