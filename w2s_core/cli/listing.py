"""`w2s recipes` and `w2s tasks`: what there is, where it comes from, and the fields and options that it takes."""

import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from w2s_core.cli.render import table
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES, RULES, TASKS, Registry
from w2s_core.recipes.unused_fields import is_of_harness, own_fields

BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


@click.command()
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes: the methods that an experiment can name. With NAME, the fields of one."""
    if name:
        click.echo(render_recipe(name))
        return
    click.echo(_listing(RECIPES, lambda recipe: recipe.summary))
    click.echo("\nfields: w2s recipes NAME")


@click.command()
@click.argument("name", required=False)
def tasks(name: str | None) -> None:
    """List the tasks and the answer rules. With NAME, the options of one task."""
    if name:
        click.echo(render_task(name))
        return
    click.echo(_listing(TASKS, lambda factory: first_line(_documented(factory))))
    click.echo("\noptions: w2s tasks NAME\n")
    click.echo(_listing(RULES, first_line))


def _listing(registry: Registry[Any], summary: Callable[[Any], str]) -> str:
    """A line for each entry; one that cannot be used says why."""
    rows = []
    for name, origin in registry.origins().items():
        try:
            text = summary(registry.get(name))
        except UserError as error:
            text = f"cannot be used: {error}"
        rows.append((name, origin, text))
    return table((registry.kind, "from", "summary"), rows)


def render_recipe(name: str) -> str:
    """A recipe with its fields: its own, those of the harness's sections that it uses, and every experiment's."""
    recipe = RECIPES.get(name)
    own = own_fields(recipe.fields)
    parts = [
        f"{name} ({RECIPES.origins()[name]}): {recipe.summary}",
        f"base models: {', '.join(recipe.models)}; splits: {', '.join(recipe.splits)}",
        _fields_table("field", own),
    ]
    for section in sorted(set(_harness_sections(own)), key=lambda section: section.__name__):
        parts.append(_fields_table(f"{section.__name__}: field", section.model_fields))
    parts.append(_fields_table("every experiment: field", _flattened(Experiment)))
    return "\n\n".join(parts)


def render_task(name: str) -> str:
    """A task with what its documentation says of its options."""
    factory = TASKS.get(name)
    documentation = inspect.getdoc(_documented(factory)) or "no description"
    options = "" if _documented(factory) is factory else inspect.getdoc(factory) or ""
    text = f"{name} ({TASKS.origins()[name]}): {documentation.partition('Attributes:')[0].strip()}"
    return f"{text}\n\noptions: {options}" if options else text


def _documented(factory: Any) -> Any:
    """What describes a task: the class whose method makes it, or the function that does."""
    owner = getattr(factory, "__self__", None)
    return owner if inspect.isclass(owner) else factory


def first_line(documented: Any) -> str:
    """The first line of a docstring; "" where there is none."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _fields_table(title: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        (name, type_name(field), _default(field), field.description or "") for name, field in fields.items()
    ]
    return table((title, "type", "default", "description"), rows)


def _flattened(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """All fields by dotted name; a section stands for its fields."""
    fields: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        sections = list(_models_in(field.annotation))
        for section in sections:
            fields |= _flattened(section, f"{prefix}{name}.")
        if not sections:
            fields[f"{prefix}{name}"] = field
    return fields


def _harness_sections(fields: dict[str, FieldInfo]) -> Iterator[type[BaseModel]]:
    """Sections that the harness defines, such as `Training`: `own_fields` leaves them whole."""
    for field in fields.values():
        for section in _models_in(field.annotation):
            if is_of_harness(section):
                yield section


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def type_name(field: FieldInfo) -> str:
    """A field's type in the words of a YAML file, with its bounds: `int >= 1`, `dpo | orpo`, `list of str`."""
    return " ".join([_annotation_name(field.annotation), *_bounds(field.metadata)])


def _bounds(constraints: Iterable[Any]) -> Iterator[str]:
    for constraint in constraints:
        # `Annotated[int, Field(ge=1)]` inside of another type keeps the bound within the Field.
        yield from _bounds(getattr(constraint, "metadata", ()))
        for bound, sign in BOUNDS:
            if getattr(constraint, bound, None) is not None:
                yield f"{sign} {getattr(constraint, bound)}"


def _annotation_name(annotation: Any) -> str:
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return " ".join([_annotation_name(arguments[0]), *_bounds(arguments[1:])])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " | ".join(map(_annotation_name, arguments))
    if origin in (tuple, list):
        return f"list of {_annotation_name(arguments[0])}"
    if origin is dict:
        return f"mapping to {_annotation_name(arguments[1])}"
    if annotation is type(None):
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""  # its fields have their own lines
    if isinstance(value, tuple | list):
        shown = [*map(str, value[:2]), "..."] if len(value) > 4 else map(str, value)
        return f"[{', '.join(shown)}]"
    return "none" if value is None else str(value)
