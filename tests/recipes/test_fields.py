"""Each field of an experiment, changed alone, changes the keys of exactly the steps that its row names.

The table is complete by construction: a field without a row fails. Rows of steps are those of `test_wiring`. What
stands on a changed step changes with it, and nothing else does.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tests.recipes.placeholders import TUNING, experiment, handles_of
from tests.recipes.test_wiring import (
    JUDGED,
    SAMPLED,
    SELF,
    SELF_JUDGED,
    W2S,
    WARM,
    WARM_JUDGED,
    leaves_of,
    self_training_table,
    unfold,
    unfold_handle,
    warm_up_table,
    weak_to_strong_table,
)
from w2s_core.engine import Handle
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES

Changes = dict[str, set[str]]
"""Row -> the parameters that differ. A target that vanishes has the parameter "gone", a new one "new"."""

ELSEWHERE = {
    "name": "names the run",
    "recipe": "chooses the graph",
    "task.name": "splits are named by the content of their rows",
    "task.options": "likewise",
    "duplicates": "takes rows out of splits, which are named by content",
    "demonstrations": "changes chats alone, see test_prompt_fields",
    "trust_remote_code": "stands in the name of the base model's content",
}
"""Fields that a recipe does not read: they act on what it starts from."""

TRAINING: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 8,
    "epochs": 2.0,
    "max_steps": 4,
    "lora_r": 9,
    "lora_alpha": 9,
    "lora_dropout": 0.5,
    "warmup_ratio": 0.5,
    "warmup_steps": 5,
    "scheduler": "linear",
    "weight_decay": 0.5,
    "max_length": 9,
    "load_in_4bit": True,
    "beta": 0.7,
    "tuning": "full",
    "lora_targets": ("v_proj", "q_proj"),
    "lora_dora": True,
    "lora_rslora": True,
    "optimizer": "sgd",
    "max_grad_norm": 0.5,
    "loss": "ipo",
    "label_smoothing": 0.1,
}
"""Another value for each field of a training."""
PREFERENCE = ("beta",)
DPO = ("beta", "loss", "label_smoothing")
"""The fields of a Stage II section beside those of every training."""
ALONGSIDE = {"label_smoothing": {"loss": "robust"}}
"""What a field cannot be changed without."""
SETTING = {"load_in_4bit": "quantization"}
"""What a field is called among a step's settings, where that is not its own name."""


def all_fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from all_fields(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def changed_experiment(recipe: str, base: Mapping[str, Any], field: str, value: Any) -> Experiment:
    """The base experiment with one field changed; epochs and max_steps take each other's place."""
    tree = experiment(recipe, **base).model_dump()
    branch = tree
    *parents, last = field.split(".")
    for parent in parents:
        branch = branch.setdefault(parent, {})  # a section that is left out where it is the default
    if last in ("epochs", "max_steps"):
        branch |= {"epochs": None, "max_steps": None}
    if (last, value) == ("tuning", "full"):  # adapters then have no size
        for name in ("lora_r", "lora_alpha", "lora_dropout"):
            branch.pop(name)
    branch |= ALONGSIDE.get(last, {}) | {last: value}
    fields: type[Experiment] = RECIPES.get(recipe).fields
    return fields.model_validate(tree)


def differences(
    before: Mapping[str, Handle], after: Mapping[str, Handle], names: Mapping[str, str]
) -> Changes:
    """What differs in the steps themselves, followed from each target through both graphs side by side."""
    changes: Changes = {}
    pairs = [(label, before.get(label), after.get(label)) for label in before.keys() | after.keys()]
    while pairs:
        where, old, new = pairs.pop()
        if old is None or new is None:
            changes.setdefault(where, set()).add("gone" if new is None else "new")
        elif old.key != new.key:
            row = names[old.key]
            if old.name != new.name:
                changes.setdefault(row, set()).add("step")
                continue
            differing = {
                p for p in old.params.keys() | new.params.keys() if old.params.get(p) != new.params.get(p)
            }
            if differing:
                changes.setdefault(row, set()).update(differing)
            if old.inputs.keys() != new.inputs.keys():
                changes.setdefault(row, set()).add("inputs")
                continue
            pairs += [(f"{row}.{part}", old.inputs[part], new.inputs[part]) for part in old.inputs]
    return changes


def rows_where(table: Mapping[str, Any], step: str, **params: Any) -> set[str]:
    """The rows of a step, of those that have these parameters at all."""
    return {
        name for name, (kind, _, known) in table.items() if kind == step and all(p in known for p in params)
    }


def expected_weak_to_strong(table: Mapping[str, Any]) -> dict[str, tuple[Any, Changes]]:
    """Field -> (another value, the rows whose own parameters change)."""
    samples = rows_where(table, "sample")
    drawn = rows_where(table, "sample", seed=0)
    trained = rows_where(table, "sft") | rows_where(table, "prefer")
    sides = {f"{side}_side_{i}" for side in ("weak", "icl") for i in (1, 2)}
    judged_samples = {f"samples:{split}:{name}" for split in ("dev", "test") for name in SAMPLED}
    rows: dict[str, tuple[Any, Changes]] = {
        "weak": ("other", {"weak": {"ref"}}),
        "strong": ("other", {"strong": {"ref"}}),
        **prompt_rows("weak", "strong"),
        "seed": (6, {key: {"seed"} for key in drawn | trained | {"shown", "pairs", "random"}}),
        "shots": (2, {"shown": {"shots"}}),
        "max_new_tokens": (78, {key: {"max_new_tokens"} for key in samples}),
        "engine": ("vllm", {key: {"engine"} for key in samples}),
        "generation_config": (("repetition_penalty",), {key: {"temperature"} for key in samples}),
        "precision": (
            "bfloat16",
            {key: {"precision"} for key in samples} | {key: {"settings"} for key in trained},
        ),
        "stage1.iterations": (1, fewer_iterations()),
        "stage1.samples": (3, {key: {"n"} for key in sides}),
        "stage1.temperature": (0.5, {key: {"temperature"} for key in sides}),
        "stage1.consistency": (0.6, {"a1": {"consistency"}, "a2": {"consistency"}}),
        "stage2.methods": (("orpo",), gone(("dpo",), SAMPLED)),
        "stage2.samples": (7, {"votes": {"n"}}),
        "stage2.temperature": (0.5, {"votes": {"temperature"}}),
        "stage2.keep": (0.4, {"pairs": {"keep"}}),
        "stage2.flip": (0.7, {"pairs": {"flip"}}),
        "stage2.per_question": (3, {"pairs": {"per_question"}}),
        # a warning changes no result, so its limits are in no key; see test_minimums
        "minimums.agreed": (50, {}),
        "minimums.parsed": (0.9, {}),
        "minimums.pairs": (50, {}),
        "minimums.on_too_few": ("stop", {key: {"stop_below"} for key in ("a1", "a2", "dpo", "orpo")}),
        "evaluation.splits": (("dev",), gone_split(JUDGED, SAMPLED)),
        "evaluation.samples": (8, {key: {"n"} for key in judged_samples}),
        "evaluation.temperature": (0.5, {key: {"temperature"} for key in judged_samples}),
        "controls": (False, gone(("icl_all", "random_subset", "gold_on_agreed"), SAMPLED)),
    }
    strong = {name for name in rows_where(table, "sft") if table[name][1]["model"] == "strong"}
    rows |= training_rows("weak_sft", {"m"})
    rows |= training_rows("sft", strong)
    rows |= training_rows("stage2.dpo", {"dpo"}, DPO)
    rows |= training_rows("stage2.orpo", {"orpo"}, PREFERENCE)
    # settings of methods that are not in stage2.methods; see test_every_method_is_trained_by_its_own_section
    rows |= {f"stage2.{name}": (TUNING, {}) for name in ("cpo", "simpo")}
    return rows


def expected_self_training(table: Mapping[str, Any]) -> dict[str, tuple[Any, Changes]]:
    samples = rows_where(table, "sample")
    drawn = rows_where(table, "sample", seed=0)
    trained = rows_where(table, "sft")
    sampled = [name for name in SELF_JUDGED if name != "zero_shot"]
    judged_samples = {f"samples:{split}:{name}" for split in ("dev", "test") for name in sampled}
    rows: dict[str, tuple[Any, Changes]] = {
        "model": ("other", {"model": {"ref"}}),
        **prompt_rows("model"),
        "seed": (6, {key: {"seed"} for key in drawn | trained}),
        "max_new_tokens": (78, {key: {"max_new_tokens"} for key in samples}),
        "engine": ("vllm", {key: {"engine"} for key in samples}),
        "generation_config": (("repetition_penalty",), {key: {"temperature"} for key in samples}),
        "precision": (
            "bfloat16",
            {key: {"precision"} for key in samples} | {key: {"settings"} for key in trained},
        ),
        "samples": (5, {key: {"n"} for key in ("own", "votes")}),
        "temperature": (0.5, {key: {"temperature"} for key in ("own", "votes")}),
        "confidence": (0.5, {"majority": {"confidence"}}),
        "evaluation.splits": (("dev",), gone_split(SELF_JUDGED, sampled)),
        "evaluation.samples": (8, {key: {"n"} for key in judged_samples}),
        "evaluation.temperature": (0.5, {key: {"temperature"} for key in judged_samples}),
    }
    return rows | training_rows("sft", trained)


def expected_warm_up(table: Mapping[str, Any]) -> dict[str, tuple[Any, Changes]]:
    samples = rows_where(table, "sample")
    drawn = rows_where(table, "sample", seed=0)
    judged_samples = {f"samples:{split}:warmed" for split in ("dev", "test")}
    both = {"model": {"prompt"}, "read": {"user"}}
    rows: dict[str, tuple[Any, Changes]] = {
        "model": ("other", {"model": {"ref"}}),
        **prompt_rows("model"),
        "prompt.form": ("chat", both),
        "prompt.user": ("{question} is", both),
        "prompts": ({"model": {"form": "chat"}}, both),
        "seed": (6, {key: {"seed"} for key in drawn | {"shown", "read", "warmed"}}),
        "max_new_tokens": (78, {key: {"max_new_tokens"} for key in samples}),
        "engine": ("vllm", {key: {"engine"} for key in samples}),
        "generation_config": (("repetition_penalty",), {key: {"temperature"} for key in samples}),
        "precision": (
            "bfloat16",
            {key: {"precision"} for key in samples} | {"warmed": {"settings"}},
        ),
        "shown": (2, {"read": {"shown"}}),
        "share": (0.4, {"read": {"share"}}),
        "shots": (3, {"shown": {"shots"}}),
        "evaluation.splits": (("dev",), gone_split(WARM_JUDGED, ("warmed",))),
        "evaluation.samples": (8, {key: {"n"} for key in judged_samples}),
        "evaluation.temperature": (0.5, {key: {"temperature"} for key in judged_samples}),
    }
    return rows | training_rows("sft", {"warmed"})


def prompt_rows(*models: str) -> dict[str, tuple[Any, Changes]]:
    asked: Changes = {name: {"prompt"} for name in models}
    return {
        "prompt.form": ("chat", asked),
        "prompt.system": ("Think.", asked),
        "prompt.user": ("Q: {question}\nA:", asked),
        "prompts": ({models[0]: {"form": "chat"}}, {models[0]: {"prompt"}}),
    }


def training_rows(section: str, steps: set[str], own: tuple[str, ...] = ()) -> dict[str, tuple[Any, Changes]]:
    return {
        f"{section}.{name}": (value, {key: {"settings"} for key in steps})
        for name, value in TRAINING.items()
        if name not in DPO or name in own
    }


def gone(names: tuple[str, ...], sampled: Any) -> Changes:
    greedy = {f"greedy/{split}/{name}" for split in ("dev", "test") for name in names}
    drawn = {f"samples/{split}/{name}" for split in ("dev", "test") for name in names if name in sampled}
    return {key: {"gone"} for key in greedy | drawn}


def gone_split(judged: Any, sampled: Any) -> Changes:
    targets = {f"greedy/test/{name}" for name in judged} | {f"samples/test/{name}" for name in sampled}
    return {key: {"gone"} for key in targets}


def fewer_iterations() -> Changes:
    """One iteration: no targets of the second; Stage II starts from hybrid-ft 1, whose set is a1."""
    later = gone(("weak_ft_2", "icl_ft_2", "hybrid_ft_2"), SAMPLED)
    sets = {key: {"gone"} for key in ("labels/weak_1", "labels/icl_1", "labels/agreed_2")}
    new = {f"samples/{s}/{name}": {"new"} for s in ("dev", "test") for name in ("icl_ft_1", "hybrid_ft_1")}
    return later | sets | new


CASES = {
    "weak_to_strong": (W2S, weak_to_strong_table, expected_weak_to_strong),
    "self_training": (SELF, self_training_table, expected_self_training),
    "warm_up": (WARM, warm_up_table, expected_warm_up),
}


@cache
def names_of_rows(recipe: str) -> tuple[Experiment, Mapping[str, Any], dict[str, str]]:
    """The base experiment, its table, and the row of each key of its graph."""
    base, make_table, _ = CASES[recipe]
    x = experiment(recipe, **base)
    table, leaves = make_table(x), leaves_of(x)
    keys = {handle.key for handle in leaves.values()}
    by_tree = {repr(unfold(name, table, leaves)): name for name in table}
    names = {handle.key: name for name, handle in leaves.items()}
    queue = list(handles_of(x).values())
    while queue:
        handle = queue.pop()
        if handle.key not in names:
            names[handle.key] = by_tree[repr(unfold_handle(handle, keys))]
            queue += handle.parents()
    return x, table, names


PARAMS = [
    (recipe, field)
    for recipe in CASES
    for field in all_fields(RECIPES.get(recipe).fields)
    if field not in ELSEWHERE
]


@pytest.mark.parametrize(("recipe", "field"), PARAMS)
def test_a_field_changes_the_steps_of_its_row_and_no_other(
    recipe: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("w2s_core.experiment.vllm_version", lambda: "0.0")
    monkeypatch.setattr("w2s_core.experiment.bitsandbytes_version", lambda: "0.0")
    base, table, names = names_of_rows(recipe)
    rows = CASES[recipe][2](table)
    assert field in rows, f"{field} has no row: say which steps it changes"
    value, expected = rows[field]
    before, after = handles_of(base), handles_of(changed_experiment(recipe, CASES[recipe][0], field, value))
    changes = differences(before, after, names)
    if field == "stage1.iterations":  # M_plus is another row then: compared by targets only
        changes = {row: parts for row, parts in changes.items() if parts <= {"gone", "new"}}
    assert changes == expected
    assert_settings_differ_in(field, before, after)


def assert_settings_differ_in(field: str, before: Mapping[str, Handle], after: Mapping[str, Handle]) -> None:
    """A field of a training changes the setting of its own name, and no neighbour's."""
    *section, name = field.split(".")
    if not section or section[-1] not in ("weak_sft", "sft", "dpo", "orpo"):
        return
    allowed = {"epochs", "max_steps"} if name in ("epochs", "max_steps") else {SETTING.get(name, name)}
    allowed |= ALONGSIDE.get(name, {}).keys()
    allowed |= {"lora_r", "lora_alpha", "lora_dropout"} if name == "tuning" else set()
    for label in before.keys() & after.keys():
        queue = [(before[label], after[label])]
        while queue:
            old, new = queue.pop()
            if old.key == new.key:
                continue
            was, now = (handle.params.get("settings", {}) for handle in (old, new))
            assert {part for part in was | now if was.get(part) != now.get(part)} <= allowed, label
            queue += [(old.inputs[part], new.inputs[part]) for part in old.inputs]


@pytest.mark.parametrize("recipe", CASES)
def test_every_row_is_a_field(recipe: str) -> None:
    """A row of a field that is gone would prove nothing."""
    _, table, _ = names_of_rows(recipe)
    fields = set(all_fields(RECIPES.get(recipe).fields))
    assert set(CASES[recipe][2](table)) | set(ELSEWHERE) == fields


TRAINING_DEFAULTS: dict[str, Any] = {
    "batch_size": 32,
    "epochs": None,
    "max_steps": None,
    "lora_r": 32,
    "lora_alpha": 64,
    "lora_dropout": 0.0,
    "warmup_ratio": 0.03,
    "warmup_steps": None,
    "scheduler": "cosine",
    "weight_decay": 0.0,
    "max_length": 1024,
    "load_in_4bit": False,
    "tuning": "lora",
    "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "lora_dora": False,
    "lora_rslora": False,
    "optimizer": "adamw_torch_fused",
    "max_grad_norm": 1.0,
}
COMMON_DEFAULTS: dict[str, Any] = {
    "recipe": "weak_to_strong",
    "task.options": {},
    "trust_remote_code": False,
    "seed": 0,
    "max_new_tokens": 512,
    "engine": "transformers",
    "precision": "auto",
    "prompt.form": "qa",
    "prompt.system": "",
    "prompt.user": "",
    "prompts": {},
    "demonstrations": "turns",
    "generation_config": (),
    "evaluation.splits": ("test",),
    "evaluation.samples": 10,
    "evaluation.temperature": 1.0,
    "duplicates": "report",
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "weak_to_strong": COMMON_DEFAULTS
    | {
        "shots": 4,
        "stage1.iterations": 2,
        "stage1.samples": 1,
        "stage1.consistency": 1.0,
        "stage1.temperature": 1.0,
        "stage2.methods": ("dpo", "orpo"),
        "stage2.samples": 10,
        "stage2.temperature": 1.0,
        "stage2.keep": 0.6,
        "stage2.flip": 0.8,
        "stage2.per_question": 1,
        "minimums.agreed": 20,
        "minimums.parsed": 0.5,
        "minimums.pairs": 20,
        "minimums.on_too_few": "warn",
        "controls": False,
    }
    | {
        f"{part}.{n}": v
        for part in ("weak_sft", "sft", "stage2.dpo", "stage2.orpo")
        for n, v in TRAINING_DEFAULTS.items()
    }
    | {"stage2.dpo.beta": 0.1, "stage2.orpo.beta": 0.1, "stage2.cpo": None, "stage2.simpo": None}
    | {"stage2.dpo.loss": "sigmoid", "stage2.dpo.label_smoothing": 0.0},
    "self_training": COMMON_DEFAULTS
    | {"samples": 8, "temperature": 1.0, "confidence": 0.6}
    | {f"sft.{n}": v for n, v in TRAINING_DEFAULTS.items()},
    "warm_up": COMMON_DEFAULTS
    | {"shown": 2, "share": 0.6, "shots": 4}
    | {f"sft.{n}": v for n, v in TRAINING_DEFAULTS.items()},
}
"""The paper's settings where it has them (section 4.1 and appendix A)."""


@pytest.mark.parametrize("recipe", CASES)
def test_defaults_are_those_of_the_paper(recipe: str) -> None:
    fields: type[Experiment] = RECIPES.get(recipe).fields
    defaults = {}
    for field in all_fields(fields):
        info = field_info(fields, field)
        if not info.is_required():
            defaults[field] = info.get_default(call_default_factory=True)
    assert defaults == DEFAULTS[recipe]


def field_info(model: type[BaseModel], dotted: str) -> Any:
    *parents, last = dotted.split(".")
    for parent in parents:
        section = model.model_fields[parent].annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        model = section
    return model.model_fields[last]


TRAINING_EDGES: dict[str, tuple[list[Any], list[Any]]] = {
    "learning_rate": ([0.0, -1.0, float("inf")], [1e-12]),
    "batch_size": ([0], [1]),
    "epochs": ([0.0], [0.5]),
    "max_steps": ([0], [1]),
    "lora_r": ([0], [1]),
    "lora_alpha": ([0], [1]),
    "lora_dropout": ([-0.1, 1.0], [0.0, 0.99]),
    "warmup_ratio": ([-0.1, 1.0], [0.0, 0.99]),
    "warmup_steps": ([-1], [0]),
    "scheduler": (["cosinus"], ["cosine", "linear", "constant"]),
    "weight_decay": ([-0.1], [0.0]),
    "max_length": ([1], [2]),
    "beta": ([0.0], [1e-9]),
    "tuning": (["qlora"], ["lora", "full"]),
    "lora_targets": ([(), ("q_proj", "q_proj"), ("q_proj; x",), ""], [("q_proj",), ("c_attn",)]),
    "lora_dora": ([1], [True]),
    "lora_rslora": ([1], [True]),
    "optimizer": (["adamw", "lion_32bit"], ["adafactor", "sgd"]),
    "max_grad_norm": ([-0.1, float("inf")], [0.0]),
    "loss": (["aot", "sft", "kto"], ["ipo", "hinge"]),
    "label_smoothing": ([-0.1, 0.5], [0.49]),
}
EDGES: dict[str, dict[str, tuple[list[Any], list[Any]]]] = {
    "weak_to_strong": {
        "name": (["-a", ""], ["a", "a.b-c_1"]),
        "seed": ([-1], [0]),
        "shots": ([0], [1]),
        "max_new_tokens": ([0], [1]),
        "generation_config": ([("temperature",), ("no_repeat_ngram_size",)], [(), ("min_p", "top_k")]),
        "stage1.iterations": ([0], [1]),
        "stage1.samples": ([0], [1]),
        "stage1.consistency": ([-0.1, 1.1], [0.0, 1.0]),
        "stage1.temperature": ([0.0], [0.1]),
        "stage2.methods": ([("ppo",)], [(), ("dpo",)]),
        "stage2.samples": ([1], [2]),
        "stage2.temperature": ([0.0], [0.1]),
        "stage2.keep": ([-0.1, 1.1], [0.0, 1.0]),
        "stage2.flip": ([-0.1, 1.1], [0.0, 1.0]),
        "stage2.per_question": ([0], [1]),
        "minimums.agreed": ([0], [1]),
        "minimums.parsed": ([-0.1, 1.1], [0, 1]),
        "minimums.pairs": ([0], [1]),
        "evaluation.samples": ([-1], [0]),
        "evaluation.temperature": ([0.0], [0.1]),
        "evaluation.splits": ([("train_1",)], [("dev",), ("dev", "test")]),
        **{
            f"{part}.{n}": v
            for part, own in (("weak_sft", ()), ("sft", ()), ("stage2.dpo", DPO), ("stage2.orpo", PREFERENCE))
            for n, v in TRAINING_EDGES.items()
            if n not in DPO or n in own
        },
    },
    "self_training": {
        "samples": ([1], [2]),
        "temperature": ([0.0], [0.1]),
        "confidence": ([-0.1, 1.1], [0.0, 1.0]),
    },
    "warm_up": {
        "shown": ([-1], [0]),
        "share": ([-0.1, 1.1], [0.0, 1.0]),
        "shots": ([0], [1]),
    },
}
"""Field -> values outside its range, values at its edge."""


@pytest.mark.parametrize(
    ("recipe", "field"), [(recipe, field) for recipe in EDGES for field in EDGES[recipe]]
)
def test_ranges_of_fields(recipe: str, field: str) -> None:
    base = CASES[recipe][0]
    outside, edge = EDGES[recipe][field]
    for value in outside:
        with pytest.raises(ValidationError):
            changed_experiment(recipe, base, field, value)
    for value in edge:
        assert changed_experiment(recipe, base, field, value)


@pytest.mark.parametrize("recipe", CASES)
def test_sections_and_models_are_required(recipe: str) -> None:
    tree = experiment(recipe, **CASES[recipe][0]).model_dump()
    fields: type[Experiment] = RECIPES.get(recipe).fields
    for name in ("name", "task", *[n for n, info in fields.model_fields.items() if info.is_required()]):
        with pytest.raises(ValidationError):
            fields.model_validate({part: value for part, value in tree.items() if part != name})


def test_without_samples_models_are_judged_greedily_only() -> None:
    for recipe, (base, _, _) in CASES.items():
        targets = handles_of(changed_experiment(recipe, base, "evaluation.samples", 0))
        assert not [label for label in targets if label.startswith("samples/")]
        assert [label for label in targets if label.startswith("greedy/")]


def test_every_method_is_trained_by_its_own_section() -> None:
    """Sections of methods that came later: their fields are in the settings of their step, defaults left out."""
    change = {"label_smoothing": 0.1, "nll_weight": 0.5}
    stage2 = {"methods": ("cpo", "simpo"), "dpo": TUNING, "orpo": TUNING}
    stage2 |= {"cpo": TUNING | change, "simpo": TUNING | {"gamma": 0.3}}
    targets = handles_of(experiment(stage2=stage2))
    trained = {
        name: targets[f"greedy/dev/{name}"].inputs["responses"].inputs["model"] for name in ("cpo", "simpo")
    }
    assert {name: step.params["method"] for name, step in trained.items()} == {"cpo": "cpo", "simpo": "simpo"}
    cpo, simpo = (step.params["settings"] for step in trained.values())
    assert cpo == {name: value for name, value in simpo.items() if name != "gamma"} | {"beta": 0.1} | change
    assert simpo["gamma"] == 0.3
    assert simpo["beta"] == 2.0
