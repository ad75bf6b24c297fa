"""What built-in recipes say of themselves, and what `Targets` makes of a recipe's calls."""

from typing import get_args

import pytest

from analysis.parts.part import load_report
from tests.recipes.placeholders import experiment, given, targets_of
from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import ROLES, Answerer, Outline, Role, Targets, outline_entry

SAID = {
    "weak_to_strong": (("weak", "strong"), ("train_1", "train_2"), ("controls", "stage2.methods"), True),
    "self_training": (("model",), ("train_1", "train_2"), (), False),
}
"""Models, splits, fields that only decide which targets there are, and whether it brings a report."""


@pytest.mark.parametrize("name", RECIPES.builtin)
def test_a_recipe_says_what_it_needs(name: str) -> None:
    recipe = RECIPES.get(name)
    assert recipe.name == name
    assert (recipe.models, recipe.splits, recipe.outputs, load_report(name) is not None) == SAID[name]
    assert set(recipe.models) <= set(recipe.fields.model_fields)


def test_roles_are_listed_in_the_order_in_which_pages_choose_their_columns() -> None:
    assert get_args(Role) == ROLES


@pytest.mark.parametrize("name", RECIPES.builtin)
def test_an_experiment_names_its_recipe(name: str) -> None:
    assert experiment(name).recipe == name


@pytest.mark.parametrize(
    ("outline", "label"),
    [
        (Outline("greedy", "dpo", "DPO", "method", "test"), "greedy/test/dpo"),
        (Outline("samples", "dpo", "DPO", "method", "dev"), "samples/dev/dpo"),
        (Outline("labels", "agreed_1", "agreed 1"), "labels/agreed_1"),
        (Outline("data", "pairs", "pairs"), "pairs"),
    ],
)
def test_labels_and_entries_of_records(outline: Outline, label: str) -> None:
    assert outline.label == label
    assert Outline(**outline_entry(outline)) == outline


def test_a_target_that_is_named_twice_is_refused() -> None:
    x = experiment("self_training")
    start = given(x)
    targets = Targets(x, start)
    for _ in range(2):
        targets.judge("base", Answerer(start.base["model"]), title="base", role="baseline")
    with pytest.raises(UserError, match=r"recipe 'self_training' names the target 'greedy/dev/base' twice"):
        targets.all()


def test_targets_stand_by_split_and_then_in_the_order_of_the_recipe() -> None:
    """Tables list models in this order, and steps are named after the first target that needs them."""
    labels = list(targets_of(experiment("self_training")))
    greedy = [label for label in labels if label.startswith("greedy/")]
    names = ["teacher", "zero_shot", "rejection", "majority", "first_samples", "ceiling"]
    assert greedy == [f"greedy/{split}/{name}" for split in ("dev", "test") for name in names]
    assert labels.index("samples/dev/teacher") == labels.index("greedy/dev/teacher") + 1
    assert labels[-2:] == ["labels/votes", "labels/majority"]
