"""What is read out of the records of runs, of today and of before recipes had names."""

from typing import Any

import pytest

from tests.recipes.placeholders import experiment, targets_of
from w2s_core.recipes.recipe import Outline
from w2s_core.recipes.record import model_name, model_names, outline, recipe_name


def test_records_without_a_recipe_are_of_the_first_one() -> None:
    assert recipe_name({"task": "gsm8k"}) == "weak_to_strong"
    assert recipe_name({"recipe": "self_training"}) == "self_training"


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({"recipe": "weak_to_strong", "bases": {"strong": "b", "weak": "a"}}, {"weak": "a", "strong": "b"}),
        ({"strong": "b", "weak": "a", "model": "c"}, {"weak": "a", "strong": "b"}),
        ({"strong": "b"}, {"strong": "b"}),
        ({"recipe": "self_training", "bases": {"other": "b", "model": "a"}}, {"model": "a", "other": "b"}),
        ({"recipe": "not_here", "bases": {"b": "1", "a": "2"}}, {"b": "1", "a": "2"}),
        ({"bases": {}, "weak": "a"}, {}),
    ],
    ids=["today", "before bases", "one alone", "beyond the recipe", "recipe gone", "bases first"],
)
def test_base_models_stand_in_the_order_of_the_recipe(record: dict[str, Any], names: dict[str, str]) -> None:
    assert list(model_names(record).items()) == list(names.items())


def test_the_outline_is_the_records_own_where_it_has_one() -> None:
    entry = {"kind": "greedy", "name": "a", "title": "A", "role": "method", "split": "test"}
    assert outline({"outline": [entry], "targets": {"greedy/test/b": "key"}}) == [
        Outline("greedy", "a", "A", "method", "test")
    ]


def test_a_record_of_labels_alone_has_the_outline_of_the_first_recipe() -> None:
    labels = list(targets_of(experiment()))
    assert [entry.label for entry in outline({"targets": dict.fromkeys(sorted(labels), "key")})] == labels


@pytest.mark.parametrize("place", ["/models/small", "owner/small", "small"])
def test_a_base_model_is_called_by_the_last_part_of_its_place(place: str) -> None:
    assert model_name(place) == "small"
