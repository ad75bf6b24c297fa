"""Commands and reports that other packages add, found by their entry points: this package names none of them.

Group `w2s.commands`: click commands, by name. Group `w2s.hooks`: `render_run(store, name) -> str` for `w2s show`, and
`save_report(store, names, out, command) -> str` for `w2s run`.
"""

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from w2s_core.errors import UserError
from w2s_core.plugins import entry_points, errors_in_one_line, load_place

COMMANDS = "w2s.commands"
HOOKS = "w2s.hooks"
OWN_COMMANDS = {
    "data": "w2s_core.data.commands:data",
    "accept": "w2s_core.cli.accept:accept",
    "delete": "w2s_core.cli.housekeeping:delete",
    "import-model": "w2s_core.cli.import_model:import_model",
    "doctor": "w2s_core.doctor.command:doctor",
    "init": "w2s_core.cli.examples:init",
    "export-adapter": "w2s_core.cli.export:export_adapter",
    "note": "w2s_core.cli.housekeeping:note",
    "recipes": "w2s_core.cli.catalogue:recipes",
    "rename": "w2s_core.cli.housekeeping:rename",
    "runs": "w2s_core.cli.housekeeping:runs",
    "tag": "w2s_core.cli.housekeeping:tag",
    "tasks": "w2s_core.cli.catalogue:tasks",
}
"""Commands of this package that stand in modules of their own, imported when they are called."""


class ExtensibleGroup(click.Group):
    """A group whose further commands stand in other modules and packages, imported when they are called."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        own = super().get_command(ctx, cmd_name)
        return own if own or cmd_name not in command_places() else load_command(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, for the help."""
        return sorted({*self.commands, *command_places()})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each command. Those elsewhere are read and not imported: the help must come at once."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        places = command_places()
        rows = [
            (
                name,
                self.commands[name].get_short_help_str(limit)
                if name in self.commands
                else short_help(places[name][0], limit),
            )
            for name in names
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def command_places() -> dict[str, list[str]]:
    """Where each command stands that is not the group's own ("module:attribute"), by name; two where packages clash."""
    places = {name: [place] for name, place in OWN_COMMANDS.items()}
    for point in entry_points(COMMANDS):
        known = places.setdefault(point.name, [])
        if point.value not in known:
            known.append(point.value)
    return places


def load_command(name: str) -> click.Command:
    """Import a command.

    Raises:
        UserError: two packages have one of that name, or it cannot be imported.
    """
    place = _only(f"command '{name}'", command_places()[name])
    with errors_in_one_line(f"command '{name}' ({place})"):
        command = load_place(place)
    if not isinstance(command, click.Command):
        raise UserError(
            f"command '{name}' ({place}): it must be a click command, not a {type(command).__name__}"
        )
    return command


def hook(name: str) -> Callable[..., Any] | None:
    """The function that an installed package adds under this name; None where none does.

    Raises:
        UserError: two packages have one, or it cannot be imported.
    """
    places = list(dict.fromkeys(point.value for point in entry_points(HOOKS) if point.name == name))
    if not places:
        return None
    place = _only(f"report '{name}'", places)
    with errors_in_one_line(f"report '{name}' ({place})"):
        function: Callable[..., Any] = load_place(place)
    return function


def _only(title: str, places: list[str]) -> str:
    if len(places) > 1:
        raise UserError(f"two packages bring the {title}: {places[0]} and {places[1]}; uninstall one")
    return places[0]


def short_help(place: str, limit: int) -> str:
    """The first sentence of a command's docstring, read from its source without importing it."""
    module, _, attribute = place.partition(":")
    text = ""
    if path := _module_file(module):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.FunctionDef) and node.name == attribute:
                text = ast.get_docstring(node) or ""
    return click.Command(attribute, help=text).get_short_help_str(limit)


def _module_file(name: str) -> Path | None:
    """A module's source. Only its top package is looked up: looking up a submodule would import what is around it."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*rest)
    files = [path.with_suffix(".py"), path / "__init__.py"] if rest else [Path(spec.origin)]
    return next((file for file in files if file.is_file()), None)
