"""What built-in recipes say of themselves, and what `Targets` makes of a recipe's calls."""

from typing import get_args

import pytest

from tests.recipes.placeholders import experiment, given, targets_of
from w2s_analysis.parts.part import load_report
from w2s_core.engine import Handle
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import ROLES, Answerer, Outline, Role, Targets, answer, outline_entry

SAID = {
    "weak_to_strong": (("weak", "strong"), ("train_1", "train_2"), ("controls", "stage2.methods"), True),
    "self_training": (("model",), ("train_1", "train_2"), (), False),
    "warm_up": (("model",), ("pretrain",), (), False),
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


def test_experiments_share_an_evaluation_only_where_it_is_asked_alike() -> None:
    """Of one and the same model, so that nothing but what is asked tells them apart."""
    x = experiment("self_training")
    start = given(x)

    def sampled(other: Experiment) -> Handle:
        targets = Targets(other, start)
        targets.judge("base", Answerer(start.base["model"]), title="base", role="baseline", samples=True)
        return targets.all()[f"samples/{x.evaluation.splits[0]}/base"].handle

    first = sampled(x)
    assert sampled(x.model_copy(update={"name": "another"})).key == first.key
    assert sampled(x.model_copy()) is first
    evaluation = [{"samples": 3}, {"temperature": 0.5}]
    changes = [{"evaluation": x.evaluation.model_copy(update=change)} for change in evaluation]
    for change in [*changes, {"seed": 7}, {"max_new_tokens": 9}, {"precision": "bfloat16"}]:
        assert sampled(x.model_copy(update=change)).key != first.key, change


@pytest.mark.parametrize(
    ("name", "title", "problem"),
    [
        ("my/own", "own", "can have letters, digits, '.', '_' and '-' in its name only"),
        ("own", " ", "needs a title of one line, not ' '"),
        ("own", "my\nown", r"needs a title of one line, not 'my\nown'"),
    ],
)
def test_names_and_titles_that_reports_cannot_print_are_refused(name: str, title: str, problem: str) -> None:
    x = experiment("self_training")
    start = given(x)
    with pytest.raises(UserError) as error:
        Targets(x, start).keep(name, start.base["model"], title=title)
    assert str(error.value) == f"recipe 'self_training': its target '{name}' {problem}"


def test_what_is_drawn_is_what_the_engine_is_checked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "w2s_core.recipes.recipe.check_sampling",
        lambda *engine_and_model, n, temperature, generation: checked.append(
            (*engine_and_model, n, temperature)
        ),
    )
    x = experiment("self_training", seed=5)
    start = given(x)
    model, questions = start.base["model"], start.questions["dev"]
    greedy = answer(x, Answerer(model), questions, temperature=0.5)
    sampled = answer(x, Answerer(model), questions, n=2)
    warm = answer(x, Answerer(model), questions, n=3, temperature=0.5)
    assert checked == [(x.engine, model, 1, 0.0), (x.engine, model, 2, 1.0), (x.engine, model, 3, 0.5)]
    drawn = [
        {name: handle.params.get(name) for name in ("n", "temperature", "seed")}
        for handle in (greedy, sampled, warm)
    ]
    assert drawn == [
        {"n": None, "temperature": None, "seed": None},
        {"n": 2, "temperature": 1.0, "seed": 5},
        {"n": 3, "temperature": 0.5, "seed": 5},
    ]


def test_targets_stand_by_split_and_then_in_the_order_of_the_recipe() -> None:
    """Tables list models in this order, and steps are named after the first target that needs them."""
    labels = list(targets_of(experiment("self_training")))
    greedy = [label for label in labels if label.startswith("greedy/")]
    names = ["teacher", "zero_shot", "rejection", "majority", "first_samples", "ceiling"]
    assert greedy == [f"greedy/{split}/{name}" for split in ("dev", "test") for name in names]
    assert labels.index("samples/dev/teacher") == labels.index("greedy/dev/teacher") + 1
    assert labels[-2:] == ["labels/votes", "labels/majority"]
