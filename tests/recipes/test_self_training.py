"""The graph of self-training: what its models are, and where gold can go."""

from tests.recipes.placeholders import experiment, given, handles_of, targets_of, walk
from w2s_core.plugins import RECIPES


def test_titles_and_roles_tell_what_a_model_is() -> None:
    targets = targets_of(experiment("self_training")).values()
    models = [(t.name, t.title, t.role) for t in targets if t.kind == "greedy" and t.split == "test"]
    assert models == [
        ("teacher", "gold FT on train_1", "floor"),
        ("zero_shot", "base, zero-shot", "baseline"),
        ("rejection", "rejection-sampling FT", "method"),
        ("majority", "majority-vote distillation", "method"),
        ("first_samples", "control: first samples", "control"),
        ("ceiling", "gold FT on train_2", "ceiling"),
    ]
    sets = [(t.name, t.title) for t in targets if t.kind == "labels"]
    assert sets == [("votes", "all votes"), ("majority", "majority answers")]


def test_final_model_and_rungs_are_judged() -> None:
    x = experiment("self_training")
    recipe = RECIPES.get("self_training")
    assert recipe.final(x) == "majority"
    assert list(recipe.rungs(x)) == ["rejection"]
    assert {"greedy/dev/majority", "greedy/dev/rejection"} <= handles_of(x).keys()


def test_gold_of_train_2_reaches_grades_and_the_ceiling_alone() -> None:
    before, after = (handles_of(experiment("self_training"), {"train_2": digest}) for digest in "ab")
    gold = given(experiment("self_training")).gold["train_2"].key
    takers = [h.name for h in walk(before.values()) if any(parent.key == gold for parent in h.parents())]
    assert sorted(takers) == ["grade", "grade", "sft"]
    for label in before.keys() - {"labels/votes", "labels/majority"}:
        assert (before[label].key == after[label].key) == ("ceiling" not in label), label
