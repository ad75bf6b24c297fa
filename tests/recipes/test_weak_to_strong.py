"""The graph of weak-to-strong reasoning, without computing it: what it shares, and where gold can go."""

import pytest

from tests.recipes.placeholders import experiment, given, handles_of, targets_of, walk
from w2s_core.engine import Handle
from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES

TUNING = {"learning_rate": 1e-3, "max_steps": 3}


def feeds(handle: Handle, keys: set[str]) -> bool:
    return any(parent.key in keys for parent in handle.parents())


def model_of(target: Handle) -> Handle:
    responses = target.inputs["responses"]
    model = responses.inputs["model"]
    assert isinstance(model, Handle)
    return model


def test_changing_every_gold_answer_of_train_2_changes_only_grades_and_what_is_meant_to_learn_from_gold() -> (
    None
):
    before, after = (handles_of(experiment(), {"train_2": digest}) for digest in "ab")
    changed = {h.key for h in walk(before.values())} - {h.key for h in walk(after.values())}
    names = {h.key: h.name for h in walk(before.values())}
    gold_of_train_2 = given(experiment()).gold["train_2"].key
    ceiling = model_of(before["greedy/test/ceiling"]).key
    downstream = {h.key for h in walk(before.values()) if feeds(h, {ceiling})}
    for key in changed - {gold_of_train_2, ceiling} - downstream:
        assert names[key] == "grade", names[key]
    learned = {
        label for label in before if label.startswith(("greedy/", "samples/")) and "ceiling" not in label
    }
    assert learned
    for label in learned | {"pairs"}:
        assert before[label].key == after[label].key, label


@pytest.mark.parametrize("controls", [False, True])
def test_gold_of_evaluation_splits_reaches_grades_only(controls: bool) -> None:
    x = experiment(controls=controls)
    barred = {given(x).gold[split].key for split in ("dev", "test")}
    takers = {h.name for h in walk(handles_of(x).values()) if feeds(h, barred)}
    assert takers == {"grade"}


def test_gold_of_train_2_is_taken_by_grades_the_ceiling_and_the_gold_control_only() -> None:
    gold = given(experiment()).gold["train_2"].key
    plain = [h.name for h in walk(handles_of(experiment()).values()) if feeds(h, {gold})]
    assert sorted(set(plain)) == ["grade", "sft"]
    assert plain.count("sft") == 1, "the ceiling, and nothing else, learns from gold of train_2"


def test_a_threshold_of_stage_one_leaves_what_comes_before_it_shared() -> None:
    """Varying the consistency makes new agreed sets from the same first answers."""
    graphs = [
        list(walk(handles_of(experiment(stage1={"samples": 4, "consistency": c})).values()))
        for c in (0.5, 1.0)
    ]
    first, second = ({h.key: h for h in graph} for graph in graphs)
    shared = [first[key] for key in first.keys() & second.keys()]
    agreed = [[h for h in graph if h.name == "agree"] for graph in graphs]
    assert not {h.key for h in agreed[0]} & {h.key for h in agreed[1]}, "every agreed set is another"
    drawn = [h for h in shared if h.name == "sample" and h.params.get("n") == 4]
    assert len(drawn) == 2, "both sides of iteration 1 are drawn once for both thresholds"
    trained = [h for h in shared if h.name == "sft"]
    assert len(trained) == 3, (
        "the weak model, full weak fine-tuning and the ceiling stand before the threshold"
    )


def test_number_of_iterations_is_free() -> None:
    targets = handles_of(experiment(stage1={"iterations": 3}))
    assert {"greedy/test/hybrid_ft_3", "labels/agreed_3", "samples/test/hybrid_ft_3"} <= set(targets)
    assert "samples/test/hybrid_ft_2" not in targets, "only the last iteration is sampled"
    plus = model_of(targets["samples/test/hybrid_ft_3"])
    assert model_of(targets["greedy/test/dpo"]).inputs["model"] == plus, "Stage II starts from M_plus"


def test_seed_changes_every_trained_model() -> None:
    trained = [
        {h.key for h in walk(handles_of(experiment(seed=seed)).values()) if h.name in ("sft", "prefer")}
        for seed in (0, 1)
    ]
    assert not trained[0] & trained[1]


def test_titles_and_roles_tell_what_a_model_is() -> None:
    targets = targets_of(experiment(controls=True))
    told = {t.name: (t.title, t.role) for t in targets.values() if t.kind == "greedy" and t.split == "test"}
    assert told == {
        "weak_floor": ("weak floor", "floor"),
        "zero_shot": ("strong, zero-shot", "baseline"),
        "full_weak_ft": ("full weak FT", "baseline"),
        "weak_icl": ("weak ICL", "baseline"),
        "weak_ft_1": ("weak-ft 1", "variant"),
        "icl_ft_1": ("icl-ft 1", "variant"),
        "hybrid_ft_1": ("hybrid-ft 1", "variant"),
        "weak_ft_2": ("weak-ft 2", "variant"),
        "icl_ft_2": ("icl-ft 2", "variant"),
        "hybrid_ft_2": ("hybrid-ft 2 = M_plus", "method"),
        "dpo": ("M_plus + DPO", "method"),
        "orpo": ("M_plus + ORPO", "method"),
        "ceiling": ("strong ceiling", "ceiling"),
        "icl_all": ("control: all ICL", "control"),
        "random_subset": ("control: random", "control"),
        "gold_on_agreed": ("control: gold", "control"),
    }
    sets = {t.name: t.title for t in targets.values() if t.kind == "labels"}
    data = {t.name: t.title for t in targets.values() if t.kind == "data"}
    assert data == {"vote": "votes of M_plus", "pairs": "contrastive pairs"}
    assert list(sets.items()) == [
        ("weak_0", "D_weak"),
        ("icl_0", "D_icl"),
        ("agreed_1", "agreed 1"),
        ("weak_1", "weak-ft 1, answers"),
        ("icl_1", "icl-ft 1, answers"),
        ("agreed_2", "agreed 2"),
        ("pairs_chosen", "pairs_chosen"),
        ("pairs_rejected", "pairs_rejected"),
    ]


@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.parametrize("iterations", [1, 3])
def test_records_that_kept_labels_only_read_as_new_ones(controls: bool, iterations: int) -> None:
    """An old record has its labels in the order of the alphabet; its outline is that of today's record."""
    targets = targets_of(experiment(controls=controls, stage1={"iterations": iterations}))
    old = RECIPES.get("weak_to_strong").old_outline(sorted(targets, reverse=True))
    assert {entry.label: (entry.role, entry.title) for entry in old if entry.kind != "data"} == {
        target.label: (target.role, target.title) for target in targets.values() if target.kind != "data"
    }
    for kind, split in (("greedy", "dev"), ("greedy", "test"), ("samples", "test"), ("labels", None)):
        order = [
            [t.name for t in entries if (t.kind, t.split) == (kind, split)]
            for entries in (old, targets.values())
        ]
        assert order[0] == order[1]
    assert [entry.label for entry in old][-2:] == ["vote", "pairs"]


def test_old_records_may_hold_little_or_what_is_not_known() -> None:
    old_outline = RECIPES.get("weak_to_strong").old_outline
    (floor,) = old_outline(["greedy/test/weak_floor"])
    assert (floor.title, floor.role) == ("weak floor", "floor")
    labels = [
        "labels/other",
        "labels/agreed_12",
        "labels/agreed_2",
        "greedy/test/rlhf",
        "greedy/test/ceiling",
    ]
    assert [(entry.name, entry.title, entry.role) for entry in old_outline(labels)] == [
        ("ceiling", "strong ceiling", "ceiling"),
        ("rlhf", "rlhf", "method"),
        ("agreed_2", "agreed 2", None),
        ("agreed_12", "agreed 12", None),
        ("other", "other", None),
    ]


@pytest.mark.parametrize(("methods", "final"), [((), "hybrid_ft_2"), (("dpo",), "dpo"), (("orpo",), "orpo")])
def test_the_final_model_is_the_last_stage_that_there_is(methods: tuple[str, ...], final: str) -> None:
    stage2 = {"methods": methods, "dpo": TUNING, "orpo": TUNING}
    x = experiment(stage2=stage2)
    assert RECIPES.get("weak_to_strong").final(x) == final
    assert f"greedy/dev/{final}" in handles_of(x)


def test_several_final_models_are_refused() -> None:
    with pytest.raises(UserError, match=r"stage2.methods has several.*fix it to one"):
        RECIPES.get("weak_to_strong").final(experiment())


def test_a_pruner_may_give_up_after_each_iteration() -> None:
    x = experiment(stage1={"iterations": 3})
    assert list(RECIPES.get("weak_to_strong").rungs(x)) == ["hybrid_ft_1", "hybrid_ft_2", "hybrid_ft_3"]
    assert all(f"greedy/dev/{name}" in handles_of(x) for name in RECIPES.get("weak_to_strong").rungs(x))
