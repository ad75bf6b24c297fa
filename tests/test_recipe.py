"""The recipe's graph, without computing it: what it holds, what it shares, and where gold can go."""

import dataclasses
from collections.abc import Iterator

import pytest

from w2s_core.engine import Handle
from w2s_core.experiment import Experiment
from w2s_core.recipes.weak_to_strong import Inputs, weak_to_strong
from w2s_core.steps.data import base_model, gold, questions

SPLITS = ("train_1", "train_2", "dev", "test")
SOURCE = {"task": "mini", "options": {}, "duplicates": "report", "names": list(SPLITS)}


def experiment(**changes: object) -> Experiment:
    tuning = {"learning_rate": 1e-3, "max_steps": 3}
    fields = {
        "name": "small",
        "task": {"name": "mini"},
        "weak": "weak",
        "strong": "strong",
        "weak_sft": tuning,
        "sft": tuning,
        "stage2": {"dpo": tuning, "orpo": tuning},
        "evaluation": {"splits": ("dev", "test")},
    }
    return Experiment.model_validate(fields | changes)


def inputs(train_2_gold: str = "a") -> Inputs:
    digest = {"train_2": train_2_gold}
    return Inputs(
        questions={s: questions(source=SOURCE, split=s, digest=f"q-{s}") for s in SPLITS},
        gold={s: gold(source=SOURCE, split=s, digest=f"g-{s}-{digest.get(s, 'a')}") for s in SPLITS},
        weak_base=base_model(ref="sha256:weak"),
        strong_base=base_model(ref="sha256:strong"),
        answer_rule="gsm8k",
    )


def walk(targets: dict[str, Handle]) -> Iterator[Handle]:
    """Every handle above the targets, once."""
    seen: set[str] = set()
    queue = list(targets.values())
    while queue:
        handle = queue.pop()
        if handle.key not in seen:
            seen.add(handle.key)
            yield handle
            queue.extend(handle.parents())


def feeds(handle: Handle, wanted: set[str]) -> bool:
    return any(one.key in wanted for one in handle.parents())


def test_changing_every_gold_answer_of_train_2_changes_only_grades_and_what_is_meant_to_learn_from_gold() -> (
    None
):
    before, after = weak_to_strong(experiment(), inputs("a")), weak_to_strong(experiment(), inputs("b"))
    changed = {h.key for h in walk(before)} - {h.key for h in walk(after)}
    names = {h.key: h.name for h in walk(before)}
    gold_of_train_2 = inputs("a").gold["train_2"].key
    ceiling = before["greedy/test/ceiling"].inputs["responses"].inputs["model"].key
    downstream = {h.key for h in walk(before) if feeds(h, {ceiling})}
    allowed = {gold_of_train_2, ceiling} | downstream
    for key in changed - allowed:
        assert names[key] == "grade", names[key]
    learned = {
        label for label in before if label.startswith(("greedy/", "samples/")) and "ceiling" not in label
    }
    assert learned
    for label in learned | {"pairs"}:
        assert before[label].key == after[label].key, label


@pytest.mark.parametrize("controls", [False, True])
def test_gold_of_evaluation_splits_reaches_grades_only(controls: bool) -> None:
    given = inputs()
    targets = weak_to_strong(experiment(controls=controls), given)
    barred = {given.gold[split].key for split in ("dev", "test")}
    takers = {h.name for h in walk(targets) if feeds(h, barred)}
    assert takers == {"grade"}


def test_gold_of_train_2_is_taken_by_grades_the_ceiling_and_the_gold_control_only() -> None:
    given = inputs()
    plain = weak_to_strong(experiment(), given)
    takers = [h.name for h in walk(plain) if feeds(h, {given.gold["train_2"].key})]
    assert sorted(set(takers)) == ["grade", "sft"]
    assert takers.count("sft") == 1, "the ceiling, and nothing else, learns from gold of train_2"


def test_stage_one_thresholds_leave_the_first_answers_shared() -> None:
    plain = {h.key for h in walk(weak_to_strong(experiment(), inputs()))}
    other = weak_to_strong(experiment(stage1={"iterations": 1}), inputs())
    assert {h.key for h in walk(other) if h.name == "agree"} <= plain


def test_number_of_iterations_is_free() -> None:
    targets = weak_to_strong(experiment(stage1={"iterations": 3}), inputs())
    assert {"greedy/test/hybrid_ft_3", "labels/agreed_3", "samples/test/hybrid_ft_3"} <= set(targets)
    assert "samples/test/hybrid_ft_2" not in targets, "only the last iteration is sampled"
    plus = targets["samples/test/hybrid_ft_3"].inputs["responses"].inputs["model"]
    preferred = targets["greedy/test/dpo"].inputs["responses"].inputs["model"]
    assert preferred.inputs["model"].key == plus.key, "Stage II starts from M_plus"


def test_controls_are_matched_in_steps() -> None:
    targets = weak_to_strong(experiment(controls=True), inputs())
    icl_ft = targets["greedy/test/icl_ft_1"].inputs["responses"].inputs["model"]
    for name in ("icl_all", "random_subset", "gold_on_agreed"):
        control = targets[f"greedy/test/{name}"].inputs["responses"].inputs["model"]
        assert control.inputs["steps_of"].key == icl_ft.key


def test_seed_changes_every_trained_model() -> None:
    one, two = (weak_to_strong(experiment(seed=seed), inputs()) for seed in (0, 1))
    trained = [{h.key for h in walk(t) if h.name in ("sft", "prefer")} for t in (one, two)]
    assert not trained[0] & trained[1]


def test_inputs_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        inputs().answer_rule = "math"  # type: ignore[misc]
