"""What recipes start from, as handles of placeholders: nothing is read and nothing is computed."""

from collections.abc import Iterable, Iterator
from typing import Any

from w2s_core.engine import Handle
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Given, Target
from w2s_core.steps.data import base_model, gold, questions

SPLITS = ("pretrain", "train_1", "train_2", "dev", "test")
SOURCE = {"task": "mini", "options": {}, "duplicates": "report", "names": list(SPLITS)}
TUNING = {"learning_rate": 1e-3, "max_steps": 3}
COMMON = {
    "name": "small",
    "task": {"name": "mini"},
    "evaluation": {"splits": ("dev", "test")},
}
OWN = {
    "weak_to_strong": {
        "weak": "weak",
        "strong": "strong",
        "weak_sft": TUNING,
        "sft": TUNING,
        "stage2": {"dpo": TUNING, "orpo": TUNING},
    },
    "self_training": {"model": "strong", "sft": TUNING},
    "warm_up": {"model": "strong", "sft": TUNING},
}


def experiment(recipe: str = "weak_to_strong", **changes: Any) -> Experiment:
    """A small experiment of a recipe; `changes` replace whole top-level fields."""
    fields: type[Experiment] = RECIPES.get(recipe).fields
    return fields.model_validate(COMMON | {"recipe": recipe} | OWN[recipe] | changes)


def given(experiment: Experiment, gold_digests: dict[str, str] | None = None) -> Given:
    """Placeholders for the splits and base models; a split's gold changes with its digest."""
    digests = gold_digests or {}
    return Given(
        questions={s: questions(source=SOURCE, split=s, digest=f"q-{s}") for s in SPLITS},
        gold={s: gold(source=SOURCE, split=s, digest=f"g-{s}-{digests.get(s, 'a')}") for s in SPLITS},
        base={
            field: base_model(ref=f"sha256:{getattr(experiment, field)}", prompt=experiment.prompt_of(field))
            for field in RECIPES.get(experiment.recipe).models
        },
        rule="gsm8k",
    )


def targets_of(experiment: Experiment, gold_digests: dict[str, str] | None = None) -> dict[str, Target]:
    """The targets that the experiment's recipe plans, by label."""
    start = given(experiment, gold_digests)
    shipped = {str(base.params["ref"]): {"repetition_penalty": 1.1} for base in start.base.values()}
    planned: dict[str, Target] = RECIPES.get(experiment.recipe).targets(
        experiment.with_shipped(shipped), start
    )
    return planned


def handles_of(experiment: Experiment, gold_digests: dict[str, str] | None = None) -> dict[str, Handle]:
    """The handles of the targets by label."""
    return {label: target.handle for label, target in targets_of(experiment, gold_digests).items()}


def walk(handles: Iterable[Handle]) -> Iterator[Handle]:
    """Every handle that these stand on, and these, once."""
    seen: set[str] = set()
    queue = list(handles)
    while queue:
        handle = queue.pop()
        if handle.key not in seen:
            seen.add(handle.key)
            yield handle
            queue.extend(handle.parents())
