"""The wiring of each recipe's whole graph, held against a table that is written by hand from the papers.

A row is a step: its name, its inputs (names of other rows) and its parameters. Two graphs are the same if every target
unfolds to the same tree, so that a swapped side, a lost parameter or a wrong index cannot pass.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.recipes.placeholders import experiment, given, handles_of
from w2s_core.engine import Handle
from w2s_core.experiment import Experiment

Row = tuple[str, dict[str, str], dict[str, Any]]
Table = Mapping[str, Row]
TUNING = {"learning_rate": 1e-3, "max_steps": 3}


def draw(model: str, questions: str, after: str = "", **params: Any) -> Row:
    """A row that samples: greedily, or with n, temperature and seed."""
    shots = {"demonstrations": after} if after else {}
    return "sample", {"model": model, "questions": questions, **shots}, {"max_new_tokens": 77, **params}


def tune(model: str, questions: str, responses: str, settings: Any, **others: Any) -> Row:
    inputs = {name: value for name, value in others.items() if name in ("exclude", "steps_of")}
    params = {name: value for name, value in others.items() if name not in inputs}
    return (
        "sft",
        {"model": model, "questions": questions, "responses": responses, **inputs},
        {"settings": settings, "seed": 5, **params},
    )


def mark(responses: str, gold: str, **params: Any) -> Row:
    return "grade", {"responses": responses, "gold": gold}, {"rule": "gsm8k", **params}


W2S: dict[str, Any] = {
    "seed": 5,
    "shots": 3,
    "max_new_tokens": 77,
    "precision": "float32",
    "weak_sft": TUNING | {"lora_r": 1},
    "sft": TUNING | {"lora_r": 2},
    "stage1": {"iterations": 2, "samples": 4, "consistency": 0.7, "temperature": 0.9},
    "stage2": {
        "methods": ("dpo", "orpo"),
        "samples": 6,
        "temperature": 0.8,
        "keep": 0.5,
        "flip": 0.9,
        "per_question": 2,
        "dpo": TUNING | {"lora_r": 3},
        "orpo": TUNING | {"lora_r": 4},
    },
    "evaluation": {"splits": ("dev", "test"), "samples": 9, "temperature": 0.6},
    "controls": True,
}
ASIDE = {"temperature": 0.9, "n": 4, "seed": 5}
"""How each side of Stage I is sampled."""
JUDGED = {
    "weak_floor": ("m", ""),
    "zero_shot": ("strong", ""),
    "full_weak_ft": ("full", ""),
    "weak_icl": ("strong", "shown"),
    "weak_ft_1": ("w1", ""),
    "icl_ft_1": ("i1", ""),
    "hybrid_ft_1": ("h1", ""),
    "weak_ft_2": ("w2", ""),
    "icl_ft_2": ("i2", ""),
    "hybrid_ft_2": ("h2", ""),
    "dpo": ("dpo", ""),
    "orpo": ("orpo", ""),
    "ceiling": ("ceiling", ""),
    "icl_all": ("icl_all", ""),
    "random_subset": ("random_ft", ""),
    "gold_on_agreed": ("gold_ft", ""),
}
"""What is evaluated: the model's row, and the demonstrations before the question."""
SAMPLED = ("icl_ft_2", "hybrid_ft_2", "dpo", "orpo", "ceiling")


def weak_to_strong_table(x: Any) -> Table:
    """Section 3 of the paper, step by step."""
    weak_settings, strong_settings = x.training(x.weak_sft), x.training(x.sft)
    strong = ("strong", "q:train_2")
    rows: dict[str, Row] = {
        "m": tune("weak", "q:train_1", "g:train_1", weak_settings, columns=["solution"]),
        "d_weak": draw("m", "q:train_2"),
        "shown": (
            "demonstrate",
            {"questions": "q:train_2", "responses": "d_weak"},
            {"rule": "gsm8k", "shots": 3, "seed": 5},
        ),
        "d_icl": draw("strong", "q:train_2", "shown"),
        "full": tune(*strong, "d_weak", strong_settings),
        # iteration 1: the weak model against the strong one in context
        "weak_side_1": draw("m", "q:train_2", **ASIDE),
        "icl_side_1": draw("strong", "q:train_2", "shown", **ASIDE),
        "a1": (
            "agree",
            {"weak": "weak_side_1", "icl": "icl_side_1", "exclude": "shown"},
            {"rule": "gsm8k", "consistency": 0.7},
        ),
        "w1": tune(*strong, "a1", strong_settings, columns=["weak"]),
        "i1": tune(*strong, "a1", strong_settings, columns=["icl"]),
        "h1": tune(*strong, "a1", strong_settings, columns=["weak", "icl"]),
        # iteration 2: the two tuned models, zero-shot; the base is tuned again
        "weak_side_2": draw("w1", "q:train_2", **ASIDE),
        "icl_side_2": draw("i1", "q:train_2", **ASIDE),
        "a2": (
            "agree",
            {"weak": "weak_side_2", "icl": "icl_side_2", "exclude": "shown"},
            {"rule": "gsm8k", "consistency": 0.7},
        ),
        "w2": tune(*strong, "a2", strong_settings, columns=["weak"]),
        "i2": tune(*strong, "a2", strong_settings, columns=["icl"]),
        "h2": tune(*strong, "a2", strong_settings, columns=["weak", "icl"]),
        # Stage II from M_plus = h2; the weak side is the first D_weak
        "votes": draw("h2", "q:train_2", n=6, temperature=0.8, seed=5),
        "pairs": (
            "contrast",
            {"weak": "d_weak", "samples": "votes", "exclude": "shown"},
            {"rule": "gsm8k", "keep": 0.5, "flip": 0.9, "per_question": 2, "seed": 5},
        ),
        "ceiling": tune(*strong, "g:train_2", strong_settings, columns=["solution"]),
        # controls, each for as many steps as icl-ft of iteration 1
        "icl_all": tune(*strong, "d_icl", strong_settings, exclude="shown", steps_of="i1"),
        "random": (
            "random_subset",
            {"responses": "d_icl", "like": "a1", "exclude": "shown"},
            {"seed": 5},
        ),
        "random_ft": tune(*strong, "random", strong_settings, steps_of="i1"),
        "same": ("on_same_questions", {"responses": "g:train_2", "like": "a1"}, {}),
        "gold_ft": tune(*strong, "same", strong_settings, columns=["solution"], steps_of="i1"),
        "vote": mark("votes", "g:train_2"),
        "labels/weak_0": mark("d_weak", "g:train_2"),
        "labels/icl_0": mark("d_icl", "g:train_2"),
        "labels/agreed_1": mark("a1", "g:train_2", column="weak"),
        "labels/weak_1": mark("weak_side_2", "g:train_2"),
        "labels/icl_1": mark("icl_side_2", "g:train_2"),
        "labels/agreed_2": mark("a2", "g:train_2", column="weak"),
        "labels/pairs_chosen": mark("pairs", "g:train_2", column="chosen"),
        "labels/pairs_rejected": mark("pairs", "g:train_2", column="rejected"),
    }
    for method in ("dpo", "orpo"):
        rows[method] = (
            "prefer",
            {"model": "h2", "questions": "q:train_2", "pairs": "pairs"},
            {"method": method, "settings": x.training(getattr(x.stage2, method)), "seed": 5},
        )
    return rows | judged_rows(JUDGED, SAMPLED)


def judged_rows(judged: Mapping[str, tuple[str, str]], sampled: tuple[str, ...]) -> Table:
    """Greedy grades of every model on dev and test, and of nine samples of some."""
    rows: dict[str, Row] = {}
    for split in ("dev", "test"):
        for name, (model, after) in judged.items():
            rows[f"greedy:{split}:{name}"] = draw(model, f"q:{split}", after)
            rows[f"greedy/{split}/{name}"] = mark(f"greedy:{split}:{name}", f"g:{split}")
        for name in sampled:
            model, after = judged[name]
            drawn = draw(model, f"q:{split}", after, n=9, temperature=0.6, seed=5)
            rows[f"samples:{split}:{name}"] = drawn
            rows[f"samples/{split}/{name}"] = mark(f"samples:{split}:{name}", f"g:{split}")
    return rows


SELF: dict[str, Any] = {
    "seed": 5,
    "max_new_tokens": 77,
    "precision": "float32",
    "samples": 6,
    "temperature": 0.8,
    "confidence": 0.7,
    "evaluation": {"splits": ("dev", "test"), "samples": 9, "temperature": 0.6},
}
SELF_JUDGED = {
    "teacher": ("teacher", ""),
    "zero_shot": ("model", ""),
    "rejection": ("rejection", ""),
    "majority": ("distilled", ""),
    "first_samples": ("first", ""),
    "ceiling": ("ceiling", ""),
}


def self_training_table(x: Any) -> Table:
    """Rejection sampling on train_1, where gold may be read, and votes on train_2, where it may not."""
    settings = x.training(x.sft)
    rows: dict[str, Row] = {
        "teacher": tune("model", "q:train_1", "g:train_1", settings, columns=["solution"]),
        "own": draw("teacher", "q:train_1", n=6, temperature=0.8, seed=5),
        "right": ("keep_right", {"responses": "own", "gold": "g:train_1"}, {"rule": "gsm8k"}),
        "rejection": tune("model", "q:train_1", "right", settings),
        "votes": draw("teacher", "q:train_2", n=6, temperature=0.8, seed=5),
        "majority": ("keep_majority", {"responses": "votes"}, {"rule": "gsm8k", "confidence": 0.7}),
        "distilled": tune("model", "q:train_2", "majority", settings),
        "first": tune("model", "q:train_2", "votes", settings),
        "ceiling": tune("model", "q:train_2", "g:train_2", settings, columns=["solution"]),
        "labels/votes": mark("votes", "g:train_2"),
        "labels/majority": mark("majority", "g:train_2"),
    }
    sampled = ("teacher", "rejection", "majority", "first_samples", "ceiling")
    return rows | judged_rows(SELF_JUDGED, sampled)


WARM: dict[str, Any] = {
    "seed": 5,
    "max_new_tokens": 77,
    "precision": "float32",
    "shown": 3,
    "share": 0.5,
    "shots": 6,
    "prompt": {"user": "Q: {question}\nA:"},
    "evaluation": {"splits": ("dev", "test"), "samples": 9, "temperature": 0.6},
}
WARM_JUDGED = {
    "raw": ("model", ""),
    "raw_icl": ("model", "shown"),
    "warmed": ("warmed", ""),
    "warmed_icl": ("warmed", "shown"),
}


def warm_up_table(x: Any) -> Table:
    """Gold of the bucket that no other split reads, and demonstrations out of it."""
    bucket = {"questions": "q:pretrain", "gold": "g:pretrain"}
    prompt = {"user": "Q: {question}\nA:"}
    rows: dict[str, Row] = {
        "shown": ("demonstrate_gold", bucket, {"shots": 6, "seed": 5}),
        "read": ("show_gold", bucket, {"shown": 3, "share": 0.5, "seed": 5, **prompt}),
        "warmed": tune(
            "model", "read", "g:pretrain", x.training(x.sft), columns=["solution"], exclude="shown"
        ),
    }
    return rows | judged_rows(WARM_JUDGED, ("warmed",))


def unfold(name: str, table: Table, leaves: Mapping[str, Handle]) -> Any:
    """A row as a tree: its step, parameters and the trees of its inputs."""
    if name in leaves:
        return leaves[name].key
    step, inputs, params = table[name]
    below = {part: unfold(row, table, leaves) for part, row in inputs.items()}
    return step, sorted(params.items()), sorted(below.items())


def unfold_handle(handle: Handle, leaves: set[str]) -> Any:
    if handle.key in leaves:
        return handle.key
    below = {name: unfold_handle(parent, leaves) for name, parent in handle.inputs.items()}
    return handle.name, sorted(handle.params.items()), sorted(below.items())


def leaves_of(x: Experiment) -> dict[str, Handle]:
    start = given(x)
    questions = {f"q:{split}": handle for split, handle in start.questions.items()}
    gold = {f"g:{split}": handle for split, handle in start.gold.items()}
    return dict(start.base) | questions | gold


CASES = [
    ("weak_to_strong", W2S, weak_to_strong_table),
    ("self_training", SELF, self_training_table),
    ("warm_up", WARM, warm_up_table),
]


@pytest.mark.parametrize(("recipe", "changes", "table"), CASES)
def test_every_target_is_wired_as_the_table_says(recipe: str, changes: Any, table: Any) -> None:
    x = experiment(recipe, **changes)
    rows, leaves = table(x), leaves_of(x)
    handles = handles_of(x)
    keys = {handle.key for handle in leaves.values()}
    expected = {name for name in rows if "/" in name or name in ("vote", "pairs")}
    assert set(handles) == expected, "the table names every target, and no other"
    for label, handle in handles.items():
        assert unfold_handle(handle, keys) == unfold(label, rows, leaves), label
