"""Whether the models of an experiment fit a device's memory, as lines of `w2s doctor`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from w2s_core.cli.render import size
from w2s_core.doctor import memory
from w2s_core.doctor.base_models import Model
from w2s_core.doctor.lengths import Lengths
from w2s_core.doctor.machine import Check, Device
from w2s_core.experiment import Experiment
from w2s_core.models.machine import is_packed

SAMPLING_ROWS = 256
"""Responses drawn at once (`batch_size` of the step `sample`)."""
PROMPT_TOKENS = 256
"""Assumed of a question where the task's are not known: long ones of MATH have as many tokens."""
PROCESS = 600_000_000
"""Bytes of Python with torch, transformers and TRL loaded, before any model (measured)."""


@dataclass(frozen=True)
class Resources:
    """What a run would use of a machine: its options, and the accelerate config's fields ({} without one)."""

    device: Device
    workers: int
    micro_batch: int | None
    accelerate: Mapping[str, Any]

    @property
    def processes(self) -> int:
        """Processes that share the rows of a batch."""
        return int(self.accelerate.get("num_processes", 1))

    @property
    def spread(self) -> int:
        """Devices that a model in training is spread over."""
        return self.processes if self.accelerate.get("distributed_type") == "FSDP" else 1


@dataclass(frozen=True)
class Need:
    """Bytes by part that some work takes: with as many rows as it would have, and with a single one.

    `assumed` says what its lengths are; `worst`: bytes where responses in training are as long as they may be.
    """

    title: str
    most: Mapping[str, int]
    least: Mapping[str, int]
    assumed: str = ""
    worst: int = 0


def memory_checks(
    experiment: Experiment,
    model: Model,
    trainings: list[memory.Training],
    samplings: list[memory.Sampling],
    resources: Resources,
    lengths: Lengths | None = None,
) -> Iterator[Check]:
    """Sampling from the model, and each kind of training of it, against the device's free memory.

    lengths: of the task's rows in the model's tokens, where both are here.
    """
    if model.shape is None:
        yield Check("unknown", f"{model.field} memory", model.why)
        return
    drawn = [sampling for sampling in samplings if sampling.base == model.field]
    if drawn:
        yield _sampling_check(experiment, model, drawn, resources, lengths)
    checked: list[tuple[str, dict[str, Any]]] = []
    for training in trainings:
        if training.base == model.field and (training.method, training.settings) not in checked:
            checked.append((training.method, training.settings))
            yield _training_check(experiment, model, training, resources, lengths)


def _sampling_check(
    experiment: Experiment,
    model: Model,
    samplings: list[memory.Sampling],
    resources: Resources,
    lengths: Lengths | None,
) -> Check:
    """The largest of a model's samplings: most demonstrations, longest responses."""
    topic, device, shape = f"{model.field} sampling", resources.device, model.shape
    assert shape is not None
    tokens = max(sampling.tokens for sampling in samplings)
    if shape.context is not None and tokens >= shape.context:
        detail = f"max_new_tokens = {tokens} leaves no room for a question in its context of {shape.context} tokens"
        return Check("missing", topic, detail, f"max_new_tokens={shape.context // 2}", needed=True)
    prompt = lengths.prompt if lengths else PROMPT_TOKENS
    examples = max(sampling.shots for sampling in samplings) * (lengths.row if lengths else prompt + tokens)

    def parts(rows: int) -> dict[str, int]:
        shared, width = examples + rows * prompt, _width(experiment.precision)
        need = memory.sampling_memory(
            shape, model.parameters, rows=rows, own=tokens, shared=shared, width=width
        )
        need |= packed(model.parameters, width, experiment.engine, device.kind)
        return _with_process(need, device)

    rows = SAMPLING_ROWS
    if experiment.engine != "transformers":  # vLLM fits what it draws into the memory that it is given
        rows = 1
    elif device.kind == "cuda":  # where it halves what it draws at once until it fits
        halves = [SAMPLING_ROWS >> n for n in range(SAMPLING_ROWS.bit_length())]
        sizes = ((count, resources.workers * sum(parts(count).values())) for count in halves)
        rows = memory.fitting_rows(sizes, device.free) or 1
    source = "the task's longest" if lengths else "assumed"
    assumed = f"prompts of {prompt} tokens, {source}"
    need = Need(f"{rows} responses of {tokens} tokens", parts(rows), parts(1), assumed)
    return _verdict(topic, need, resources, f"max_new_tokens={max(1, tokens // 2)}")


def packed(parameters: int, width: int, engine: str, device: str) -> dict[str, int]:
    """Bytes of the second copy of the weights that sampling keeps on some processors (`w2s_core.models.products`)."""
    kept = (width, engine, device) == (memory.FLOAT32, "transformers", "cpu") and is_packed(parameters)
    return {"packed weights": parameters * width} if kept else {}


def _training_check(
    experiment: Experiment,
    model: Model,
    training: memory.Training,
    resources: Resources,
    lengths: Lengths | None,
) -> Check:
    topic, device, settings = f"{model.field} {training.method}", resources.device, training.settings
    batch = math.ceil(int(settings["batch_size"]) / resources.processes)
    rows = min(resources.micro_batch or batch, batch)
    if resources.processes == 1 and batch % rows:
        detail = f"--micro-batch {rows} does not divide the batch of {batch} rows"
        return Check("missing", topic, detail, f"--micro-batch {_divisors(batch)[-2]}", needed=True)
    tokens, longest, assumed = _row_lengths(experiment, model, training, lengths)

    def parts(count: int, length: int = tokens) -> dict[str, int]:
        return _with_process(_training_parts(model, training, resources, count, length), device)

    sizes = [(count, resources.workers * sum(parts(count, longest).values())) for count in _divisors(batch)]
    fits = memory.fitting_rows(sizes, device.free)
    unit = "pairs" if training.method in ("dpo", "orpo", "cpo", "simpo") else "rows"
    shared = f" on each of {resources.processes} devices" if resources.processes > 1 else ""
    worst = sum(parts(rows, longest).values())
    need = Need(f"{rows} {unit} of {tokens} tokens{shared}", parts(rows), parts(1), assumed, worst)
    return _verdict(topic, need, resources, f"--micro-batch {fits or 1}")


def _row_lengths(
    experiment: Experiment, model: Model, training: memory.Training, lengths: Lengths | None
) -> tuple[int, int, str]:
    """Tokens of the rows that a training sees, at most as they may become, and what the first stands on.

    Of responses that a model writes nobody knows the length: the first takes them to be no longer than gold ones.
    """
    assert model.shape is not None
    most = int(training.settings["max_length"])
    limit = min(most, model.shape.context or most)
    if lengths is None:
        return limit, limit, "max_length, the task's rows are not known here"
    before = training.shown * lengths.row
    gold = min(limit, before + lengths.row)
    longest = max(gold, min(limit, before + lengths.prompt + experiment.max_new_tokens))
    behind = f", behind {training.shown} more" if before else ""
    return gold, longest, f"the task's longest question and gold solution{behind}"


def _training_parts(
    model: Model, training: memory.Training, resources: Resources, rows: int, tokens: int
) -> dict[str, int]:
    settings = training.settings
    # in float32 and one process the model is its own reference before its first step
    copied = training.method == "dpo" and (resources.processes > 1 or settings["precision"] == "bfloat16")
    width, four_bits = _width(settings["precision"]), settings["quantization"] is not None
    held = memory.Held(width, four_bits, resources.spread, copied)
    assert model.shape is not None
    return memory.training_memory(
        model.shape,
        model.parameters,
        method=training.method,
        trained=training.stored[-1],
        rows=rows,
        tokens=tokens,
        gpu=resources.device.kind == "cuda",
        held=held,
    )


def _divisors(batch: int) -> list[int]:
    """All numbers of rows that a batch can be parted into, from 1 to all."""
    small = [rows for rows in range(1, math.isqrt(batch) + 1) if batch % rows == 0]
    return sorted({*small, *(batch // rows for rows in small)})


def _with_process(parts: dict[str, int], device: Device) -> dict[str, int]:
    """On a CPU the libraries share the memory with the model."""
    return parts | {"process": PROCESS} if device.kind == "cpu" else parts


def _verdict(topic: str, need: Need, resources: Resources, mend: str) -> Check:
    """missing: not even one row fits. unknown: it does not fit with rows of the stated length, or of the worst."""
    device, workers = resources.device, resources.workers
    total, floor = (workers * sum(parts.values()) for parts in (need.most, need.least))
    fits_one = floor <= device.free
    title, parts, shown = (need.title, need.most, total) if fits_one else ("one row", need.least, floor)
    listed = ", ".join(f"{name} {size(value)}" for name, value in parts.items() if value >= 0.01 * shown)
    times = f"{workers} workers, " if workers > 1 else ""
    assumed = f"; {need.assumed}" if need.assumed else ""
    worst = workers * need.worst
    if worst > 1.1 * total:
        assumed += f"; up to {size(worst)} if responses run to max_new_tokens"
    detail = f"{times}{title}: up to {size(shown)} of {size(device.free)} free on {device.name} ({listed}){assumed}"
    if not fits_one:
        return Check("missing", topic, detail, "a device with more memory, or a smaller model", needed=True)
    fits = max(total, worst) <= device.free
    return Check("ok", topic, detail) if fits else Check("unknown", topic, detail, mend)


def _width(precision: str) -> int:
    return memory.HALF if precision == "bfloat16" else memory.FLOAT32
