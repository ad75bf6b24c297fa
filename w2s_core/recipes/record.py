"""What the record of a run says: its recipe, its base models and its targets. Reads old records too.

Records written before recipes had names are of `weak_to_strong`; those kept labels and keys only.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES

if TYPE_CHECKING:
    from w2s_core.recipes.recipe import Outline

Record = Mapping[str, Any]
FIRST_RECIPE = "weak_to_strong"


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
