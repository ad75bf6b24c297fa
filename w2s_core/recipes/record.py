"""What the record of a run says: its recipe, its base models and its targets. Reads old records too.

Records written before recipes had names are of `weak_to_strong`; those kept labels and keys only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Outline

Record = Mapping[str, Any]
FIRST_RECIPE = "weak_to_strong"


def recipe_name(record: Record) -> str:
    """The recipe that a run was planned with."""
    return str(record.get("recipe", FIRST_RECIPE))


def model_names(record: Record) -> dict[str, str]:
    """The folder names (or hub ids) of the base models, by the field that names them."""
    if "bases" in record:
        return dict(record["bases"])
    return {field: record[field] for field in ("weak", "strong") if field in record}


def outline(record: Record) -> list[Outline]:
    """The targets of a run, in the order in which its recipe lists them."""
    if "outline" in record:
        return [Outline(**entry) for entry in record["outline"]]
    old_outline = RECIPES.get(FIRST_RECIPE).old_outline
    entries: list[Outline] = old_outline(list(record["targets"]))
    return entries


def model_name(place: str) -> str:
    """What tables call a base model: the last part of its folder, or its hub id without the revision."""
    return Path(place).name
