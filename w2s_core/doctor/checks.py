"""What is here, what an experiment needs of it, and the command that mends what is not."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.cli.render import size
from w2s_core.doctor import memory
from w2s_core.doctor.base_models import Model, model_checks, prompt_check
from w2s_core.doctor.fit import Resources, memory_checks
from w2s_core.doctor.lengths import Lengths, longest
from w2s_core.doctor.machine import (
    MEND,
    Check,
    data_check,
    find_device,
    free_disk,
    one_line,
)
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.models import resolve_device
from w2s_core.plugins import RECIPES
from w2s_core.training.accelerate_config import check_device, read_accelerate_config

if TYPE_CHECKING:
    from w2s_core.runs import Machine

CHECKPOINT = 3
"""A training's checkpoint is the adapter and AdamW's two moments."""


def _accelerate_check(path: Path, config: Mapping[str, Any], device: str) -> Check:
    try:
        check_device(path, config, device)
    except UserError as error:
        return Check("missing", "accelerate", str(error), needed=True)
    return Check("ok", "accelerate", f"{config['num_processes']} processes, {config['distributed_type']}")


def now_needed(check: Check) -> Check:
    """The check of something optional, for an experiment that needs it."""
    return Check(
        check.status, check.topic, check.detail.replace("optional", "needed"), check.mend, needed=True
    )


def render(checks: Iterable[Check]) -> str:
    """Aligned lines: status, what, detail, and the command that mends it after an arrow.

    Names come from files that others wrote: what would move a terminal's cursor is left out.
    """
    listed = list(checks)
    width = max(len(check.topic) for check in listed)
    lines = (
        f"{check.status:<7}  {check.topic:<{width}}  {check.detail}{'  -> ' + check.mend if check.mend else ''}"
        for check in listed
    )
    return "\n".join("".join(char if char.isprintable() else " " for char in line) for line in lines)


def experiment_checks(experiment: Experiment, store: Path, machine: "Machine") -> Iterator[Check]:
    """Everything that an experiment needs: data, its base models, memory for each kind of step, disk."""
    shared: dict[str, Any] = {}
    if machine.accelerate:
        shared = read_accelerate_config(machine.accelerate)
        yield _accelerate_check(machine.accelerate, shared, resolve_device(machine.device))
    experiment = experiment.on(resolve_device(machine.device))
    yield Check("ok", "experiment", f"{experiment.run_name} (task {experiment.task.name})")
    problems, line = data_check(experiment)
    yield line
    questions = {split: len(rows) for split, rows in problems.items()} if problems else None
    models = {}
    for field in RECIPES.get(experiment.recipe).models:
        models[field], lines = _checked_model(field, experiment)
        yield from lines
        folder = models[field].folder
        if folder and problems and not any(check.status == "missing" for check in lines):
            yield prompt_check(field, experiment, folder, problems)
    device = find_device(machine.device)
    if device is None:
        yield Check("missing", "device", "torch sees no GPU for --device cuda", "w2s doctor", needed=True)
    try:
        trainings, samplings = memory.planned(experiment)
    except UserError as error:
        yield _unplanned(error)
        return
    yield from _layer_checks(models, trainings)
    workers = machine.workers or 1
    if device is not None:
        resources = Resources(device, workers, machine.micro_batch, shared)
        for model in models.values():
            lengths = task_lengths(experiment, model) if questions is not None else None
            yield from memory_checks(experiment, model, trainings, samplings, resources, lengths)
    yield disk_check(models, trainings, _response_bytes(samplings, questions), store, workers)


def task_lengths(experiment: Experiment, model: Model) -> Lengths | None:
    """The task's longest rows in the model's tokens; None where its files are not here."""
    from w2s_core.data.splits import load_splits

    if model.folder is None:
        return None
    names = [*RECIPES.get(experiment.recipe).splits, *experiment.evaluation.splits]
    task = experiment.task
    splits = load_splits(task.name, task.options, experiment.duplicates, names)  # read before, and kept
    problems = chain.from_iterable(splits.problems.values())
    return longest(model.folder, problems, experiment.prompt_of(model.field))


def _layer_checks(models: Mapping[str, Model], trainings: Iterable[memory.Training]) -> Iterator[Check]:
    """A line for each model without the layers that its trainings put adapters on."""
    absent: dict[str, dict[str, None]] = {}
    for training in trainings:
        trained, layers = training.stored[-1], models[training.base].layers
        missing = [name for name in trained.targets if name not in layers]
        if layers and missing and not trained.full:
            absent.setdefault(training.base, {}).update(dict.fromkeys(missing))
    for field, names in absent.items():
        detail = f"{models[field].folder}: no layers named {', '.join(names)}, which adapters are trained on"
        yield Check(
            "missing", f"{field} layers", detail, "lora_targets: [NAMES OF ITS LINEAR LAYERS]", needed=True
        )


def _checked_model(field: str, experiment: Experiment) -> tuple[Model, list[Check]]:
    try:
        return model_checks(field, getattr(experiment, field), code=experiment.trust_remote_code)
    except (OSError, ValueError) as error:  # a path that is none, or that may not be looked at
        model = Model(field, why="its folder cannot be looked at")
        return model, [Check("missing", field, one_line(error), needed=True)]


def _unplanned(error: UserError) -> Check:
    """The line about an experiment whose recipe gives no graph."""
    if "bitsandbytes" in str(error):
        return Check("missing", "load_in_4bit", str(error), MEND["bitsandbytes"], needed=True)
    return Check("missing", "recipe", str(error), needed=True)


def _response_bytes(samplings: list[memory.Sampling], questions: Mapping[str, int] | None) -> int:
    """Bytes of all responses at most, at four characters a token; 0 where the questions are not known."""
    counts = questions or {}
    return sum(4 * s.responses * s.tokens * counts.get(s.split or "", 0) for s in samplings)


def disk_check(
    models: Mapping[str, Model],
    trainings: list[memory.Training],
    texts: int,
    store: Path,
    workers: int,
) -> Check:
    """The files of all trained models, checkpoints of those in work, and texts, against what is free at the store."""
    free = free_disk(store)
    files = [
        sum(part.count(model.shape, model.parameters) for part in training.stored) * memory.FLOAT32
        for training in trainings
        if (model := models[training.base]).shape is not None
    ]
    full = sum(training.stored[-1].full for training in trainings)
    title = f"{len(trainings) - full} adapters" + (f", {full} times all weights" if full else "")
    if len(files) < len(trainings) or free is None:
        return Check("unknown", "store", f"{title} of unknown size")
    need = sum(files) + workers * CHECKPOINT * max(files, default=0) + texts
    detail = f"up to {size(need)} for {title}, checkpoints and texts; {size(free)} free"
    if need > free:
        return Check("missing", "store", detail, "w2s --store DIR run CONFIG", needed=True)
    return Check("ok", "store", detail)
