"""Recipes, tasks and answer rules by name: built in, of installed packages, and of modules that the user names.

There are three ways in. Built-in entries stand in a table here. An installed package declares entry points in the
groups `w2s.recipes`, `w2s.tasks` or `w2s.answer_rules`. A module that the user names on the command line
(`--import MODULE`) calls `register` as it is imported. A config file never imports code.
"""

import difflib
import functools
import importlib
import importlib.metadata
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from w2s_core.errors import UserError

P = TypeVar("P")
TOP = str(Path(__file__).resolve().parent)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""No space: keys append a digest to the name of an answer rule (`w2s_core.steps.common.rule_key`)."""


@dataclass(frozen=True)
class Source:
    """Where an entry comes from: `place` is "module:attribute", `origin` is what messages call it."""

    place: str
    origin: str


@dataclass
class Registry(Generic[P]):
    """Entries of one kind by name. Nothing is imported before it is used.

    Attributes:
        kind: what an entry is called in messages ("recipe").
        group: the entry points that installed packages declare it by.
        form: what an entry has to be, for messages ("a function").
        accepts: whether an object is of that form.
        builtin: "module:attribute" by name.
    """

    kind: str
    group: str
    form: str
    accepts: Callable[[Any], bool]
    builtin: Mapping[str, str]
    _registered: dict[str, tuple[P, str]] = field(default_factory=dict, repr=False)
    _loaded: dict[tuple[str, Source], P] = field(default_factory=dict, repr=False)

    def register(self, name: str, entry: P) -> P:
        """Add an entry by name; returns it, so that a module can bind and register it in one line.

        Raises:
            UserError: the name is taken by another entry, or the entry is not of the right form.
        """
        origin = _origin_of_caller()
        self._check_form(name, entry, origin)
        if name in self.builtin:
            raise UserError(f"{origin}: the {self.kind} '{name}' is built in; give yours another name")
        # A module that is imported under two names registers twice from the same line.
        if name in self._registered and self._registered[name][1] != origin:
            raise UserError(f"two {self.kind}s are named '{name}': {self._registered[name][1]} and {origin}")
        self._registered[name] = (entry, origin)
        return entry

    def get(self, name: str) -> P:
        """The entry of that name.

        Raises:
            UserError: there is none, two packages have one, or its module cannot be imported.
        """
        source = self._sources().get(name)
        if name not in self._registered:
            if source is None:
                raise UserError(self._unknown(name))
            return self._load(name, source)
        entry, origin = self._registered[name]
        if source is not None and self._load(name, source) is not entry:
            raise UserError(f"two {self.kind}s are named '{name}': {source.origin} and {origin}")
        return entry

    def is_builtin(self, name: str) -> bool:
        """Whether that entry is built in; nothing is imported.

        Raises:
            UserError: two packages have an entry of one name.
        """
        return name in self._sources() and name in self.builtin

    def guard(self, name: str) -> AbstractContextManager[None]:
        """Around a call of an entry: its own errors become one line. Those of a built-in one keep their traceback."""
        return nullcontext() if name in self.builtin else errors_in_one_line(f"{self.kind} '{name}'")

    def origins(self) -> dict[str, str]:
        """Where each entry comes from, by name, in order of the names."""
        registered = {name: origin for name, (_, origin) in self._registered.items()}
        packaged = {name: source.origin for name, source in self._sources().items()}
        return dict(sorted((packaged | registered).items()))

    def _sources(self) -> dict[str, Source]:
        sources = {name: Source(place, "built in") for name, place in self.builtin.items()}
        for point in entry_points(self.group):
            origin = f"package {point.dist.name}" if point.dist else point.value
            known = sources.get(point.name)
            # A package that is installed twice (a wheel, and a checkout on the path) names the same place.
            if known and known.place != point.value:
                raise UserError(f"two {self.kind}s are named '{point.name}': {known.origin} and {origin}")
            sources[point.name] = Source(point.value, origin)
        return sources

    def _load(self, name: str, source: Source) -> P:
        """Lists of many runs ask for each run's recipe, so an entry is loaded and looked at once."""
        if (name, source) not in self._loaded:
            self._loaded[name, source] = self._load_now(name, source)
        return self._loaded[name, source]

    def _load_now(self, name: str, source: Source) -> P:
        with errors_in_one_line(f"{self.kind} '{name}' ({source.origin}, {source.place})"):
            entry: P = load_place(source.place)
        self._check_form(name, entry, f"{source.origin}, {source.place}")
        return entry

    def _check_form(self, name: str, entry: Any, origin: str) -> None:
        if not NAME.fullmatch(name):
            raise UserError(
                f"{origin}: no {self.kind} can be named '{name}': letters, digits, '.', '_' and '-' only"
            )
        if not self.accepts(entry):
            raise UserError(
                f"{origin}: the {self.kind} '{name}' must be {self.form}, not of type {type(entry).__name__}"
            )
        own_name = name if callable(entry) else entry.name
        if own_name != name:
            raise UserError(f"{origin}: the {self.kind} '{name}' calls itself '{own_name}': give it one name")

    def _unknown(self, name: str) -> str:
        known = list(self.origins())
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return (
            f"unknown {self.kind} '{name}'; {hint}known: {', '.join(known)} (looked for among those built in, in the "
            f"entry points '{self.group}' of installed packages, and in modules given with --import: "
            f"{', '.join(_imports) or 'none'})"
        )


def entry_points(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points of installed packages in a group; the packages are not imported."""
    return _entry_points(group, tuple(sys.path))


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    # `path` is what the answer depends on: a sweep plans thousands of experiments, and a scan takes 20 ms.
    return tuple(importlib.metadata.entry_points(group=group))


def load_place(place: str) -> Any:
    """The object at "module:attribute"; its module is imported."""
    module, _, attribute = place.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))


def _is_recipe(entry: Any) -> bool:
    # By its parts: the class stands above this module, which experiments are read with.
    return all(hasattr(entry, name) for name in ("name", "fields", "models", "splits", "build", "targets"))


RECIPES: Registry[Any] = Registry(
    "recipe",
    "w2s.recipes",
    "a w2s_core.recipes.recipe.Recipe",
    _is_recipe,
    {
        "weak_to_strong": "w2s_core.recipes.weak_to_strong:RECIPE",
        "self_training": "w2s_core.recipes.self_training:RECIPE",
        "warm_up": "w2s_core.recipes.warm_up:RECIPE",
    },
)
"""`w2s_core.recipes.recipe.Recipe` by name."""

TASKS: Registry[Callable[[dict[str, Any]], Any]] = Registry(
    "task",
    "w2s.tasks",
    "a function from options to a w2s_core.tasks.Task",
    callable,
    {
        "mini": "w2s_core.tasks.mini:MiniTask.from_options",
        "deduction": "w2s_core.tasks.deduction:DeductionTask.from_options",
        "gsm8k": "w2s_core.tasks.gsm8k:Gsm8kTask.from_options",
        "math": "w2s_core.tasks.math:MathTask.from_options",
        "olympicarena": "w2s_core.tasks.olympicarena:OlympicArenaTask.from_options",
        "jsonl": "w2s_core.tasks.jsonl:JsonlTask.from_options",
        "dataset": "w2s_core.tasks.jsonl:JsonlTask.from_dataset_options",
        "reasoning_gym": "w2s_core.tasks.gym:GymTask.from_options",
    },
)
"""Functions from a task's options to the task, by name."""

RULES: Registry[Callable[[str], str | None]] = Registry(
    "answer rule",
    "w2s.answer_rules",
    "a function from a response to its final answer or None",
    callable,
    {
        "gsm8k": "w2s_core.answers.extract:_gsm8k",
        "math": "w2s_core.answers.extract:_math",
        "choice": "w2s_core.answers.extract:_choice",
        "reasoning_gym": "w2s_core.answers.extract:_block",
    },
)
"""Functions from a response to the final answer in it (None where there is none), by name."""

_imports: dict[str, str] = {}
"""The folder of each module that the user named."""


def import_module(name: str) -> bool:
    """Import a module that the user named: dotted, found in the current folder too, or a path to a file.

    Returns whether it added an entry or a step; true of a module that was imported before.

    Raises:
        UserError: there is none of that name, or it cannot be imported: its own error, with the file and line.
    """
    folder, dotted = _locate(name)
    # Last, so that a folder of the user's called `datasets` cannot take the place of an installed package.
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    known, before = dotted in sys.modules, _additions()
    with errors_in_one_line(f"--import {name}"):
        try:
            module = importlib.import_module(dotted)
        except ModuleNotFoundError as error:
            if not f"{dotted}.".startswith(f"{error.name}."):  # one that the module itself imports
                raise
            raise UserError(
                f"--import {name}: there is no module '{error.name}' in {folder} or on Python's path"
            ) from None
    _check_place(name, module, Path(folder))
    _imports[dotted] = folder
    return known or _additions() > before


def _additions() -> int:
    """How many entries and steps there are that are not this package's own."""
    steps = sys.modules.get("w2s_core.engine.step")  # importing it here would take longer than most modules
    own = f"{__package__}."
    modules = [] if steps is None else steps.modules_of_steps()
    entries = sum(len(registry._registered) for registry in (RECIPES, TASKS, RULES))
    return entries + sum(not module.startswith(own) for module in modules)


def loaded_imports() -> dict[str, list[str]]:
    """What worker processes have to import too: the modules named by the user and the folders they were found in."""
    return {"modules": list(_imports), "paths": list(dict.fromkeys(_imports.values()))}


def _locate(name: str) -> tuple[str, str]:
    """The folder that has to be on the path, and the dotted name."""
    path = Path(name)
    if path.suffix != ".py":
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(
                f"--import {name}: no module can have that name: names of letters, digits and _ with dots between, "
                "or a path that ends in .py"
            )
        return str(Path.cwd()), name
    if not path.is_file():
        raise UserError(f"--import {name}: there is no such file")
    if not path.stem.isidentifier():
        raise UserError(
            f"--import {name}: '{path.stem}' cannot be a module's name: letters, digits and _ only"
        )
    return str(path.resolve().parent), path.stem


def _check_place(name: str, module: ModuleType, folder: Path) -> None:
    """Refuse a bare folder, and a module of the same name that stands elsewhere on the path."""
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        raise UserError(
            f"--import {name}: {next(iter(module.__path__))} is a folder without __init__.py: "
            "name a module in it, or a path that ends in .py"
        )
    top = module.__name__.partition(".")[0]
    file = folder / f"{top}.py"
    loaded = getattr(sys.modules[top], "__file__", None)
    if file.is_file() and (loaded is None or Path(loaded).resolve() != file.resolve()):
        raise UserError(
            f"--import {name}: Python has another module '{top}' ({loaded or 'built in'}): rename {file}"
        )


@contextmanager
def errors_in_one_line(title: str) -> Iterator[None]:
    """Around code of a plug-in, which may raise anything: a UserError that says what, where, and in which line."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last line of the message says where
        raise UserError(f"{title}: {describe_error(error)}") from None


def describe_error(error: BaseException) -> str:
    """An exception in one line: its type and text, and the file and line that raised it, outside of this package."""
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((TOP, "<frozen")) and "importlib" not in frame.filename
    ]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def _origin_of_caller() -> str:
    """The file and line that called the function that calls this."""
    frame = sys._getframe(2)
    return f"{frame.f_globals.get('__file__', frame.f_globals.get('__name__', '?'))}:{frame.f_lineno}"
