"""`w2s recipes` and `w2s tasks`: what there is, where it comes from, and the fields and options that it takes."""

import copy
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from w2s_core.cli.render import table
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES, RULES, TASKS, Registry
from w2s_core.recipes.unused_fields import is_of_harness, own_fields

BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def render_recipes() -> str:
    """All recipes, a line each."""
    return f"{_listing(RECIPES, lambda recipe: recipe.summary)}\n\nfields: w2s recipes NAME"


def render_tasks() -> str:
    """All tasks and answer rules, a line each."""
    listed = _listing(TASKS, lambda factory: first_line(_documented(factory)))
    return f"{listed}\n\noptions: w2s tasks NAME\n\n{_listing(RULES, first_line)}"


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
        parts.append(_fields_table(f"{section.__name__}: field", described(section)))
    parts.append(_fields_table("every experiment: field", _flattened(Experiment)))
    return "\n\n".join(parts)


def render_task(name: str) -> str:
    """A task with what its documentation says of its options."""
    factory = TASKS.get(name)
    documentation = inspect.getdoc(_documented(factory)) or "no description"
    text = f"{name} ({TASKS.origins()[name]}): {documentation.partition('Attributes:')[0].strip()}"
    if options := task_options(name):
        return f"{text}\n\n{table(('option', 'type', 'default', 'description'), options)}"
    also = "" if _documented(factory) is factory else inspect.getdoc(factory)
    return f"{text}\n\noptions: {also}" if also else text


def task_options(name: str) -> list[tuple[str, ...]]:
    """The options that a task's factory documents: name, type, default, what it does and in which unit."""
    options = documented(inspect.getdoc(TASKS.get(name)) or "", "Options")
    return [(option, *about.partition("; ")[::2], effect) for option, (about, effect) in options.items()]


_ENTRY = re.compile(r"(\w+)(?: \((.*?)\))?: (.*)", re.DOTALL)
"""`name (type; default): what it does`."""


def documented(text: str, title: str) -> dict[str, tuple[str, str]]:
    """The entries of a docstring's section (`Attributes`, `Options`) by name: what stands in brackets, and the text."""
    section = re.split(r"\n(?=\S)", inspect.cleandoc(text).partition(f"\n{title}:")[2])[0].rstrip()
    entries = re.split(r"\n {4}(?! )", section)
    matches = [match for entry in entries if (match := _ENTRY.fullmatch(" ".join(entry.split())))]
    return {match[1]: (match[2] or "", match[3].rstrip(".")) for match in matches}


def described(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """A section's fields. Where its class documents them as attributes, that is their description: a training's
    fields are code that the step reaches, and a description there would change its key.
    """
    texts = {name: text for base in reversed(section.__mro__) for name, text in _attributes(base).items()}
    fields = {name: copy.copy(field) for name, field in section.model_fields.items()}
    for name in fields.keys() & texts.keys():
        fields[name].description = texts[name]
    return fields


def _attributes(section: type) -> dict[str, str]:
    return {name: text for name, (_, text) in documented(section.__doc__ or "", "Attributes").items()}


def _documented(factory: Any) -> Any:
    """What describes a task: the class whose method makes it, or the function that does."""
    owner = getattr(factory, "__self__", None)
    return owner if inspect.isclass(owner) else factory


def first_line(documented: Any) -> str:
    """The first line of a docstring; "" where there is none."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _fields_table(title: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        (name, type_name(field), default_of(field), field.description or "") for name, field in fields.items()
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


def default_of(field: FieldInfo) -> str:
    """A field's default in words; "" where it is a section, whose fields have defaults of their own."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""  # its fields have their own lines
    if isinstance(value, tuple | list):
        shown = [type(item).__name__ if isinstance(item, BaseModel) else str(item) for item in value]
        shown = [*shown[:2], "..."] if len(shown) > 4 else shown
        return f"[{', '.join(shown)}]"
    return "none" if value is None else str(value)


def overrides(fields: type[BaseModel], incomplete: str) -> Iterator[str]:
    """What a shell can complete to `field=value`: all fields, and after `=` the values of a field that has few."""
    by_name = _flattened(fields)
    name, equals, _ = incomplete.partition("=")
    if not equals:
        yield from (f"{known}=" for known in by_name)
    elif name in by_name:
        annotation = by_name[name].annotation
        choices = ("true", "false") if annotation is bool else get_args(annotation)
        if annotation is bool or get_origin(annotation) is Literal:
            yield from (f"{name}={choice}" for choice in choices)
