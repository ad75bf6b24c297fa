"""Whether the models of an experiment fit a device's memory, as lines of `w2s doctor`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from w2s_core.cli.render import size
from w2s_core.doctor import memory
from w2s_core.doctor.base_models import Model
from w2s_core.doctor.machine import Check, Device
from w2s_core.experiment import Experiment

SAMPLING_ROWS = 256
"""Responses drawn at once (`batch_size` of the step `sample`)."""
PROMPT_TOKENS = 256
"""Assumed of a question: long ones of MATH have as many tokens."""
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
    """Bytes by part that some work takes: with as many rows as it would have, and with a single one."""

    title: str
    most: Mapping[str, int]
    least: Mapping[str, int]


def memory_checks(
    experiment: Experiment,
    model: Model,
    trainings: list[memory.Training],
    samplings: list[memory.Sampling],
    resources: Resources,
) -> Iterator[Check]:
    """Sampling from the model, and each kind of training of it, against the device's free memory."""
    if model.shape is None:
        yield Check("unknown", f"{model.field} memory", model.why)
        return
    drawn = [sampling for sampling in samplings if sampling.base == model.field]
    if drawn:
        yield _sampling_check(experiment, model, model.shape, drawn, resources)
    checked: list[tuple[str, dict[str, Any]]] = []
    for training in trainings:
        if training.base == model.field and (training.method, training.settings) not in checked:
            checked.append((training.method, training.settings))
            yield _training_check(model, model.shape, training, resources)


def _sampling_check(
    experiment: Experiment,
    model: Model,
    shape: memory.Shape,
    samplings: list[memory.Sampling],
    resources: Resources,
) -> Check:
    """The largest of a model's samplings: most demonstrations, longest responses."""
    topic, device = f"{model.field} sampling", resources.device
    tokens = max(sampling.tokens for sampling in samplings)
    if shape.context is not None and tokens >= shape.context:
        detail = f"max_new_tokens = {tokens} leaves no room for a question in its context of {shape.context} tokens"
        return Check("missing", topic, detail, f"max_new_tokens={shape.context // 2}", needed=True)
    examples = max(sampling.shots for sampling in samplings) * (PROMPT_TOKENS + tokens)

    def parts(rows: int) -> dict[str, int]:
        shared, width = examples + rows * PROMPT_TOKENS, _width(experiment.precision)
        need = memory.sampling_memory(
            shape, model.parameters, rows=rows, own=tokens, shared=shared, width=width
        )
        return _with_process(need, device)

    rows = SAMPLING_ROWS
    if experiment.engine != "transformers":  # vLLM fits what it draws into the memory that it is given
        rows = 1
    elif device.kind == "cuda":  # where it halves what it draws at once until it fits
        halves = [SAMPLING_ROWS >> n for n in range(SAMPLING_ROWS.bit_length())]
        sizes = ((count, resources.workers * sum(parts(count).values())) for count in halves)
        rows = memory.fitting_rows(sizes, device.free) or 1
    need = Need(f"{rows} responses of {tokens} tokens", parts(rows), parts(1))
    return _verdict(topic, need, resources, f"max_new_tokens={max(1, tokens // 2)}")


def _training_check(
    model: Model, shape: memory.Shape, training: memory.Training, resources: Resources
) -> Check:
    topic, device, settings = f"{model.field} {training.method}", resources.device, training.settings
    batch = math.ceil(int(settings["batch_size"]) / resources.processes)
    rows = min(resources.micro_batch or batch, batch)
    if resources.processes == 1 and batch % rows:
        detail = f"--micro-batch {rows} does not divide the batch of {batch} rows"
        return Check("missing", topic, detail, f"--micro-batch {_divisors(batch)[-2]}", needed=True)
    held = memory.Held(_width(settings["precision"]), settings["quantization"] is not None, resources.spread)
    tokens = min(int(settings["max_length"]), shape.context or int(settings["max_length"]))

    def parts(count: int) -> dict[str, int]:
        need = memory.training_memory(
            shape,
            model.parameters,
            method=training.method,
            rank=int(settings["lora_r"]),
            rows=count,
            tokens=tokens,
            gpu=device.kind == "cuda",
            held=held,
        )
        return _with_process(need, device)

    sizes = [(count, resources.workers * sum(parts(count).values())) for count in _divisors(batch)]
    fits = memory.fitting_rows(sizes, device.free)
    unit = "pairs" if training.method in ("dpo", "orpo") else "rows"
    shared = f" on each of {resources.processes} devices" if resources.processes > 1 else ""
    need = Need(f"{rows} {unit} of {tokens} tokens{shared}", parts(rows), parts(1))
    return _verdict(topic, need, resources, f"--micro-batch {fits or 1}")


def _divisors(batch: int) -> list[int]:
    """All numbers of rows that a batch can be parted into, from 1 to all."""
    small = [rows for rows in range(1, math.isqrt(batch) + 1) if batch % rows == 0]
    return sorted({*small, *(batch // rows for rows in small)})


def _with_process(parts: dict[str, int], device: Device) -> dict[str, int]:
    """On a CPU the libraries share the memory with the model."""
    return parts | {"process": PROCESS} if device.kind == "cpu" else parts


def _verdict(topic: str, need: Need, resources: Resources, mend: str) -> Check:
    """missing: not even one row fits. unknown: it does not fit if all rows are of the greatest length."""
    device, workers = resources.device, resources.workers
    total, floor = (workers * sum(parts.values()) for parts in (need.most, need.least))
    fits_one = floor <= device.free
    title, parts, shown = (need.title, need.most, total) if fits_one else ("one row", need.least, floor)
    listed = ", ".join(f"{name} {size(value)}" for name, value in parts.items() if value >= 0.01 * shown)
    times = f"{workers} workers, " if workers > 1 else ""
    detail = f"{times}{title}: up to {size(shown)} of {size(device.free)} free on {device.name} ({listed})"
    if not fits_one:
        return Check("missing", topic, detail, "a device with more memory, or a smaller model", needed=True)
    return Check("ok", topic, detail) if total <= device.free else Check("unknown", topic, detail, mend)


def _width(precision: str) -> int:
    return memory.HALF if precision == "bfloat16" else memory.FLOAT32
