"""What the record of a run says: its recipe, its base models and its targets. Reads old records too.

Records written before recipes had names are of `weak_to_strong`; those kept labels and keys only.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from w2s_core.errors import UserError, one_line
from w2s_core.plugins import RECIPES

if TYPE_CHECKING:
    from w2s_core.recipes.recipe import Outline

Record = Mapping[str, Any]
FIRST_RECIPE = "weak_to_strong"


_TEXTS, _LIST, _TREE = "an object of texts", "a list of texts", "an object"
_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("targets", "steps", "bases", "models"), _TEXTS),
    **dict.fromkeys(("command", "tags"), _LIST),
    **dict.fromkeys(("experiment", "questions", "duplicates"), _TREE),
    **dict.fromkeys(("run", "recipe", "task", "started", "note"), "a text"),
    "study": "a text or null",
    "seed": "a whole number",
    "outline": "a list of objects",
}
_OLDER: Record = {
    "experiment": {}, "steps": {}, "questions": {}, "duplicates": {"found": 0, "dropped": 0}, "command": [],
    "started": "", "task": "?", "seed": 0, "study": None,
}  # fmt: skip
"""What stands for fields that a record lacks."""


class _Refs(Protocol):
    def read(self, name: str) -> dict[str, Any]: ...


def targets_of(name: str, record: Record) -> dict[str, Any]:
    """The field that makes a record that of a run. Raises UserError where it is not there."""
    targets = record.get("targets")
    if not isinstance(targets, dict):
        raise UserError(f"'{name}' is no run: its record names no targets")
    return targets


def read_record(refs: _Refs, name: str) -> dict[str, Any]:
    """The record of a run: each field is of its type, and the fields that an older record lacks are empty.

    Raises:
        UserError: there is none of that name, it is no run's, or a field holds something else.
    """
    record = refs.read(name)
    targets = targets_of(name, record)
    for field, wanted in _FIELDS.items():
        if field in record and not _is(wanted, record[field]):
            raise _damaged(name, f"its field '{field}' is not {wanted}")
    try:
        labels = {entry.label for entry in outline(record)} if "outline" in record else set()
    except (TypeError, ValueError) as error:
        raise _damaged(name, f"its field 'outline' cannot be read ({one_line(str(error))})") from None
    if absent := sorted(labels - targets.keys()):
        raise _damaged(name, f"its outline lists '{absent[0]}', which is none of its targets")
    return {**_OLDER, "run": name, **record}


def _damaged(name: str, problem: str) -> UserError:
    return UserError(
        f"the record of run '{name}' is damaged: {problem}; its results are not lost: the command that made the run "
        f"writes it anew with --name {name}"
    )


def _is(wanted: str, value: Any) -> bool:
    """Whether a value of JSON is of a type by its name in `_FIELDS`."""
    if wanted == "a whole number":
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted.startswith("a text"):
        return isinstance(value, str) or (value is None and wanted.endswith("null"))
    if wanted.startswith("a list"):
        return isinstance(value, list) and all(
            isinstance(item, dict if wanted.endswith("objects") else str) for item in value
        )
    texts = wanted == _TEXTS
    return isinstance(value, dict) and all(isinstance(item, str) or not texts for item in value.values())


def recipe_name(record: Record) -> str:
    """The recipe that a run was planned with."""
    return str(record.get("recipe", FIRST_RECIPE))


def model_names(record: Record) -> dict[str, str]:
    """The folder names (or hub ids) of the base models by the field that names them, in the order of the recipe.

    Where the recipe cannot be had any more the order is that of the record.
    """
    names = (
        record["bases"] if "bases" in record else {f: record[f] for f in ("weak", "strong") if f in record}
    )
    order: tuple[str, ...] = ()
    with suppress(UserError):
        order = RECIPES.get(recipe_name(record)).models
    return {field: names[field] for field in [*order, *names] if field in names}


def model_contents(record: Record) -> dict[str, str]:
    """The names of the base models' contents by field; empty in older records, which do not tell them apart."""
    contents = record.get("models")
    if not isinstance(contents, dict):
        return {}
    return {str(field): content for field, content in contents.items() if isinstance(content, str)}


def outline(record: Record) -> "list[Outline]":
    """The targets of a run, in the order in which its recipe lists them."""
    from w2s_core.recipes.recipe import Outline  # heavy, and `w2s gc` needs none of it

    if "outline" in record:
        return [Outline(**entry) for entry in record["outline"]]
    old_outline = RECIPES.get(FIRST_RECIPE).old_outline
    entries: list[Outline] = old_outline(list(record["targets"]))
    return entries


def model_name(place: str) -> str:
    """What tables call a base model: the last part of its folder, or its hub id without the revision."""
    return Path(place).name
