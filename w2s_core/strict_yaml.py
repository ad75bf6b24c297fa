"""Read YAML strictly: every error is one line that names file, line and field, and what would be right."""

import difflib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from w2s_core.errors import UserError
from w2s_core.files import regular_size

MAX_CONFIG_BYTES = 1_000_000
MAX_VALUES = 20_000
"""Names and values of a file; reading them takes a second or two, and no config is near it."""
MAX_DIGITS = 1_000
MAX_DEPTH = 20
Place = tuple[str | int, ...]
"""Where a field stands: ("evaluation", "samples")."""
Lines = dict[Place, int]
"""The line of each field; 0 for one that a command line's override set."""


class Section(BaseModel):
    """A part of a file. Unknown fields are errors: a mistyped threshold must not pass as its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Misplaced(ValueError):
    """What a section says of one of its fields when it looks at several together; names the field's line."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


S = TypeVar("S", bound=Section)


class Loader(yaml.SafeLoader):
    """YAML's plain data, with 1e-3 a number, as JSON has it and people mean it; YAML 1.1 reads it as text.

    Aliases and merge keys are refused, since they can expand without bound; so are more values than `MAX_VALUES`.
    """

    _values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, if it may stand in a file."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._refuse("aliases (*name) are not supported; write the value out", event)
        self._values += 1
        if self._values > MAX_VALUES:
            self._refuse(f"more than {MAX_VALUES:,} names and values", event)
        node: yaml.Node | None = super().compose_node(parent, index)
        if node is not None and node.tag == "tag:yaml.org,2002:merge":
            self._refuse("merge keys (<<) are not supported; write the fields out", node)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A node's value; of a number with too many digits, or a date that cannot be, the line is named."""
        try:
            if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
                self._refuse(f"a number of {len(node.value):,} digits (at most {MAX_DIGITS:,})", node)
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            self._refuse(str(error), node)

    @staticmethod
    def _refuse(problem: str, place: Any) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path, title: str) -> tuple[dict[str, Any], Lines]:
    """The YAML of a file as plain data, and the line of each field. `title` is named in errors ("an experiment")."""
    return _parse(path, _read(path, title), title)


def validate(model: type[S], tree: dict[str, Any], path: Path, lines: Lines) -> S:
    """The tree as a model. Raises UserError for the first field that is unknown, missing, or of wrong type or range."""
    try:
        # Without NaN and infinities: a field of any type takes them, and would pass on what no key can hold.
        return model.model_validate_json(json.dumps(tree, allow_nan=False))
    except ValidationError as error:
        raise UserError(explain(model, path, lines, error.errors()[0])) from None
    except (ValueError, TypeError) as error:
        for place, value in _leaves(tree):
            if isinstance(value, float) and not math.isfinite(value):
                where = field_position(path, lines, place)
                raise UserError(f"{where}: should be a finite number (given: {value})") from None
        raise UserError(f"{path}: {error}") from None


def _leaves(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is neither a mapping nor a list, with its place."""
    if not isinstance(tree, dict | list):
        yield place, tree
        return
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from _leaves(value, (*place, name))


def set_field(tree: dict[str, Any], dotted: str, value: Any) -> Place:
    """Set `a.b` in a tree, making sections on the way. Raises UserError where `a` is no section."""
    *parents, last = dotted.split(".")
    if len(parents) > MAX_DEPTH:
        raise UserError(f"'{dotted[:40]}...': {len(parents)} sections deep; no field is below {MAX_DEPTH}")
    branch = tree
    for parent in parents:
        child = branch.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"'{dotted}': '{parent}' is not a section")
        branch = child
    branch[last] = value
    return (*parents, last)


def _read(path: Path, title: str) -> str:
    try:
        if regular_size(path) > MAX_CONFIG_BYTES:
            raise UserError(f"{path}: larger than {MAX_CONFIG_BYTES:,} bytes: not {title}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read {title}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def _parse(path: Path, text: str, title: str) -> tuple[dict[str, Any], Lines]:
    try:
        loader = Loader(text)
        root = loader.get_single_node()
        tree = loader.construct_document(root) if root else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(
            f"{where}: not valid YAML: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply") from None
    if not isinstance(tree, dict) or root is None:
        raise UserError(f"{path}: {title} is a mapping of fields (name: value)")
    lines: Lines = {}
    _mark_lines(path, root, (), lines)
    return tree, lines


def _mark_lines(path: Path, node: yaml.Node, place: Place, lines: Lines) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise UserError(f"{path}:{key.start_mark.line + 1}: field '{key.value}' is given twice")
            seen.add(key.value)
            _mark_lines(path, value, (*place, key.value), lines)
            lines[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _mark_lines(path, value, (*place, index), lines)


def explain(model: type[Section], path: Path, lines: Lines, error: ErrorDetails) -> str:
    """One line for pydantic's first complaint: file, line, field, what is wrong, what would be right."""
    cause = error.get("ctx", {}).get("error")
    place: Place = (*error["loc"], *(cause.place if isinstance(cause, Misplaced) else ()))
    place = tuple(part for part in place if not str(part).startswith("("))  # the tag of a union, see `Tag`
    field = ".".join(str(part) for part in place)
    where = _position(path, lines, place)
    if error["type"] == "extra_forbidden":
        names = fields_at(model, place[:-1])
        close = difflib.get_close_matches(str(place[-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(names)}"
        return f"{where}: unknown field '{field}'; {hint}"
    if error["type"] == "missing":
        return f"{where}: field '{field}' is missing"
    if error["type"] == "too_short" and error["ctx"]["actual_length"] == 0:
        return f"{where}: field '{field}' is empty; at least {error['ctx']['min_length']} is needed"
    return f"{where}: {complaint(error, place)}"


def complaint(error: ErrorDetails, place: Place | None = None) -> str:
    """The field, what is wrong, and what was given; `place` is where the field stands, if not as pydantic says."""
    field = ".".join(str(part) for part in (error["loc"] if place is None else place))
    message = (
        error["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "should be")
        .replace("be an object", "be a mapping (name: value)")
    )
    got = f" (given: {str(error['input'])[:80]!r})" if not isinstance(error["input"], dict) else ""
    return f"field '{field}': {message}{got}" if field else f"{message}{got}"


def _position(path: Path, lines: Lines, place: Place) -> str:
    """`file.yaml:7` for what stands in a file, else the override that set it."""
    line = lines.get(place) if place in lines else _nearest(lines, place)
    if line == 0:  # see `Lines`
        return f"{path} with override {'.'.join(map(str, place))}"
    return f"{path}:{line}" if line else str(path)


def field_position(path: Path, lines: Lines, place: Place) -> str:
    """The beginning of a message about a field: `file.yaml:7: field 'a.b'`."""
    return f"{_position(path, lines, place)}: field '{'.'.join(map(str, place))}'"


def _nearest(lines: Lines, place: Place) -> int | None:
    while place:
        place = place[:-1]
        if place in lines:
            return lines[place]
    return None


def fields_at(model: type[Section], place: Place) -> list[str]:
    """The field names of the section that stands at `place`, none where that is no section."""
    section: Any = model
    parts = iter(place)
    for part in parts:
        field = section.model_fields.get(part) if isinstance(part, str) else None
        annotation = field.annotation if field else None
        section = _section_of(annotation)
        if section is None:
            return []
        if get_origin(annotation) is dict:
            next(parts, None)  # a name that the file's author chose
    return sorted(section.model_fields)


def _section_of(annotation: Any) -> type[Section] | None:
    """The section in `Section`, `Section | None`, `tuple[Section, ...]` or `dict[str, ...]` of any of these."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_of, get_args(annotation))), None)
