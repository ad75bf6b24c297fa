"""A field of a recipe that its code never reads would be an ablation of nothing: it is refused.

The check is static. A field counts as read where its name stands as an attribute, a keyword or a string constant in
the module of `build`, or in a module next to it that this imports, outside of the fields' own definitions.
"""

import ast
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from w2s_core.errors import UserError
from w2s_core.experiment import Experiment

HARNESS = "w2s_core"
VALIDATORS = {"field_validator", "model_validator", "validator"}


@functools.cache
def check_fields_are_read(
    recipe: str, fields: type[Experiment], models: tuple[str, ...], build: Callable[..., Any]
) -> None:
    """Raise UserError for the first field of the recipe's own that nothing reads. Checked once in a process.

    Nothing is refused where there is no source to look at, as in a notebook. Base models need not be read: they
    reach the recipe as handles.
    """
    trees = _sources(build.__module__)
    if not trees:
        return
    mentioned = {name for tree in trees for name in _mentioned(tree)}
    for name in own_fields(fields):
        *sections, last = name.split(".")
        # A section that is passed on whole gives all of its fields.
        if (sections and "model_dump" in mentioned) or last in mentioned or name in models:
            continue
        raise UserError(
            f"recipe '{recipe}': its field '{name}' is read nowhere in {sys.modules[build.__module__].__file__}: "
            "use it or take it out"
        )


def own_fields(fields: type[Experiment]) -> dict[str, Any]:
    """The fields that a recipe adds to those of every experiment, by dotted name, with their definitions.

    Sections of the harness, such as `Training`, are one field each: the harness reads what is in them.
    """
    return {
        name: definition
        for name, definition in _flat(fields)
        if name.split(".")[0] not in Experiment.model_fields
    }


def is_of_harness(section: type[BaseModel]) -> bool:
    """Whether the harness defines a section, and reads what is in it."""
    module = f"{section.__module__}."
    return module.startswith(f"{HARNESS}.") and not module.startswith(f"{__package__}.")


def _flat(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, definition in model.model_fields.items():
        yield f"{prefix}{name}", definition
        for section in _sections(definition.annotation):
            yield from _flat(section, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The recipe's own sections in an annotation, such as `Filter | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not is_of_harness(annotation):
            yield annotation
        return
    for part in get_args(annotation):
        yield from _sections(part)


def _sources(module: str) -> list[ast.Module]:
    """The module's tree and those of the modules next to it that it imports, at any remove."""
    origin = _file(module)
    trees: dict[str, ast.Module] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        file = _file(name)
        if name in trees or origin is None or file is None or not file.is_relative_to(origin.parent):
            continue
        trees[name] = ast.parse(file.read_bytes())
        if not name.startswith(f"{HARNESS}."):
            queue += _imported(trees[name], name.rpartition(".")[0])
    return list(trees.values())


def _file(module: str) -> Path | None:
    path = getattr(sys.modules.get(module), "__file__", None)
    return Path(path).resolve() if path and Path(path).is_file() else None


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if node.level else []
            base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _mentioned(tree: ast.AST) -> Iterator[str]:
    """Names in code that may read a field. A validator reads fields too, but hands none on to a step."""
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef) and any(_is_validator(mark) for mark in node.decorator_list):
            continue
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        inside_class = isinstance(node, ast.ClassDef)
        queue += [
            child
            for child in ast.iter_child_nodes(node)
            if not (inside_class and isinstance(child, ast.AnnAssign))
        ]


def _is_validator(decorator: ast.expr) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(call, "id", getattr(call, "attr", "")) in VALIDATORS
