"""The recipe of a run, as far as it can be had: a record outlives the plug-in that its recipe came from."""

from functools import lru_cache
from typing import Any, Final

from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Recipe

ONLY_MODEL: Final = "model"
"""What a base model is called where a record names none."""


def find_recipe(name: str) -> Recipe[Any] | None:
    """The recipe of that name; None where it is not there, or cannot be imported."""
    return _look_up(name)[0]


def why_missing(name: str) -> str:
    """One line on a recipe that cannot be had, for reports; empty where it can."""
    reason = _look_up(name)[1]
    return (
        f"These runs have the tables of any recipe only, since theirs cannot be had: {reason}."
        if reason
        else ""
    )


@lru_cache(maxsize=32)
def _look_up(name: str) -> tuple[Recipe[Any] | None, str]:
    """A recipe, or why there is none. A plug-in must be imported before the first look at a run of its recipe."""
    # Cached, since an installed package's recipe is checked at each look-up, and a study has a thousand records.
    try:
        return RECIPES.get(name), ""
    except UserError as error:
        return None, str(error)


def model_heading(field: str) -> str:
    """What tables call a base model by its field: `weak model`, `base model`; `model` stays as it is."""
    return field if field.endswith(ONLY_MODEL) else f"{field} model"
