"""Recipes, tasks and answer rules by name: built in, of installed packages, and of modules that the user names.

There are three ways in. Built-in entries stand in a table here. An installed package declares entry points in the
groups `w2s.recipes`, `w2s.tasks` or `w2s.answer_rules`. A module that the user names on the command line
(`--import MODULE`) calls `register` as it is imported. A config file never imports code.
"""

import contextlib
import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from w2s_core.errors import UserError

P = TypeVar("P")


@dataclass(frozen=True)
class Source:
    """Where an entry comes from: `object` is "module:attribute", `origin` is what people are told."""

    object: str
    origin: str


@dataclass
class Registry(Generic[P]):
    """Entries of one kind by name. Nothing is imported before it is asked for.

    Attributes:
        kind: what an entry is called in messages ("recipe").
        group: the entry points that installed packages declare it by.
        builtin: "module:attribute" by name.
    """

    kind: str
    group: str
    builtin: Mapping[str, str]
    _registered: dict[str, tuple[P, str]] = field(default_factory=dict, repr=False)

    def register(self, name: str, entry: P, origin: str | None = None) -> P:
        """Add an entry by name; returns it, so that a module can bind and register it in one line.

        Raises:
            UserError: the name is taken by another entry.
        """
        origin = origin or _origin_of_caller()
        known = self._registered.get(name)
        if known is not None and known[1] != origin:
            raise UserError(f"two {self.kind}s are named '{name}': in {known[1]} and in {origin}")
        if name in self.builtin:
            raise UserError(f"{origin}: the {self.kind} '{name}' is built in; give yours another name")
        self._registered[name] = (entry, origin)
        return entry

    def get(self, name: str) -> P:
        """The entry of that name.

        Raises:
            UserError: there is none, two packages have one, or its module cannot be imported.
        """
        if name in self._registered:
            return self._registered[name][0]
        sources = self._sources()
        if name not in sources:
            raise UserError(self._unknown(name, sorted({*sources, *self._registered})))
        return _load(sources[name], f"{self.kind} '{name}'")

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name, imported or not."""
        return name in self._registered or name in self._sources()

    def origins(self) -> dict[str, str]:
        """Where each entry comes from, by name, in order of the names."""
        known = {name: source.origin for name, source in self._sources().items()}
        return dict(
            sorted((known | {name: origin for name, (_, origin) in self._registered.items()}).items())
        )

    def _sources(self) -> dict[str, Source]:
        sources = {name: Source(place, "built in") for name, place in self.builtin.items()}
        for point in importlib.metadata.entry_points(group=self.group):
            origin = f"package {point.dist.name}" if point.dist else point.value
            if point.name in sources and sources[point.name].object != point.value:
                raise UserError(
                    f"two {self.kind}s are named '{point.name}': {sources[point.name].origin} and {origin}"
                )
            sources[point.name] = Source(point.value, origin)
        return sources

    def _unknown(self, name: str, known: list[str]) -> str:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return (
            f"unknown {self.kind} '{name}'; {hint}known: {', '.join(known)} (looked for among the built-in ones, the "
            f"entry points '{self.group}' of installed packages, and the modules given with --import)"
        )


RECIPES: Registry[Any] = Registry(
    "recipe",
    "w2s.recipes",
    {
        "weak_to_strong": "w2s_core.recipes.weak_to_strong:RECIPE",
        "self_training": "w2s_core.recipes.self_training:RECIPE",
    },
)
"""`w2s_core.recipes.recipe.Recipe` by name."""

_imports: dict[str, str] = {}


def import_module(name: str) -> None:
    """Import a module that the user named: dotted, or a path to a file; the current folder is searched first.

    Raises:
        UserError: there is none of that name, or it cannot be imported: its own error, with the file and line.
    """
    folder, module = _place(name)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        importlib.import_module(module)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a user's module raises is told in a line
        raise UserError(f"--import {name}: {_told(error)}") from None
    _imports[module] = folder


def loaded_imports() -> dict[str, list[str]]:
    """What worker processes have to import too: the modules named by the user and the folders they were found in."""
    return {"modules": list(_imports), "paths": list(dict.fromkeys(_imports.values()))}


def _place(name: str) -> tuple[str, str]:
    path = Path(name)
    if path.suffix != ".py":
        return str(Path.cwd()), name
    if not path.is_file():
        raise UserError(f"--import {name}: there is no such file")
    return str(path.resolve().parent), path.stem


def _load(source: Source, what: str) -> Any:
    module, _, attribute = source.object.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - an installed package may raise anything
        raise UserError(f"{what} ({source.origin}, {source.object}): {_told(error)}") from None


def _told(error: BaseException) -> str:
    """An exception in one line: its type and text, and the last line of a file that it came from."""
    text = " ".join(str(error).split()) or "no message"
    place = error.__traceback__
    frames = [frame for frame in _frames(place) if "importlib" not in frame[0]]
    where = f" ({frames[-1][0]}:{frames[-1][1]})" if frames[1:] else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({error.filename}:{error.lineno})"
        text = error.msg
    return f"{type(error).__name__}: {text}{where}"


def _frames(traceback: Any) -> Iterator[tuple[str, int]]:
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def _origin_of_caller() -> str:
    frame = sys._getframe(2)
    with contextlib.suppress(KeyError):
        return str(frame.f_globals["__file__"])
    return str(frame.f_globals.get("__name__", "?"))
