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
class Plan:
    """How a run would use the machine: its options, and the accelerate config's fields ({} without one)."""

    put: Device
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


def memory_checks(
    x: Experiment, model: Model, trainings: list[memory.Training], plan: Plan
) -> Iterator[Check]:
    """Sampling from the model, and each kind of training of it, against the device's free memory."""
    if model.shape is None:
        yield Check("unknown", f"{model.side} memory", model.why)
        return
    yield _sampling_check(x, model, model.shape, plan.put, plan.workers)
    seen: list[tuple[str, dict[str, Any]]] = []
    for one in trainings:
        if one.side == model.side and (one.method, one.settings) not in seen:
            seen.append((one.method, one.settings))
            yield _training_check(model, model.shape, one, plan)


def _sampling_check(x: Experiment, model: Model, shape: memory.Shape, put: Device, workers: int) -> Check:
    what, own = f"{model.side} sampling", x.max_new_tokens
    if shape.context is not None and own >= shape.context:
        said = (
            f"max_new_tokens = {own} leaves no room for a question in its context of {shape.context} tokens"
        )
        return Check("missing", what, said, f"max_new_tokens={shape.context // 2}", needed=True)
    examples = x.shots * (PROMPT_TOKENS + own) if model.side == "strong" else 0

    def parts(rows: int) -> dict[str, int]:
        shared, width = examples + rows * PROMPT_TOKENS, _width(x.precision)
        need = memory.sampling_memory(shape, model.parameters, rows=rows, own=own, shared=shared, width=width)
        return _with_process(need, put)

    rows = SAMPLING_ROWS
    if x.engine != "transformers":  # vLLM fits what it draws into the memory that it is given
        rows = 1
    elif put.kind == "cuda":  # where it halves what it draws at once until it fits
        sizes = ((SAMPLING_ROWS >> n, workers * sum(parts(SAMPLING_ROWS >> n).values())) for n in range(9))
        rows = memory.fitting_rows(sizes, put.free) or 1
    mend = f"max_new_tokens={max(1, own // 2)}"
    return _verdict(what, f"{rows} responses of {own} tokens", parts(rows), parts(1), put, workers, mend)


def _training_check(model: Model, shape: memory.Shape, one: memory.Training, plan: Plan) -> Check:
    what, put, workers = f"{model.side} {one.method}", plan.put, plan.workers
    whole = int(one.settings["batch_size"])
    batch = math.ceil(whole / plan.processes)
    rows = min(plan.micro_batch or batch, batch)
    if plan.processes == 1 and batch % rows:
        said = f"--micro-batch {rows} does not divide the batch of {batch} rows"
        return Check("missing", what, said, f"--micro-batch {_divisors(batch)[-2]}", needed=True)
    four_bits = one.settings["quantization"] is not None
    held = memory.Held(_width(one.settings["precision"]), four_bits, plan.spread)
    tokens = min(int(one.settings["max_length"]), shape.context or int(one.settings["max_length"]))

    def parts(count: int) -> dict[str, int]:
        need = memory.training_memory(
            shape,
            model.parameters,
            method=one.method,
            rank=int(one.settings["lora_r"]),
            rows=count,
            tokens=tokens,
            gpu=put.kind == "cuda",
            held=held,
        )
        return _with_process(need, put)

    sizes = [(count, workers * sum(parts(count).values())) for count in _divisors(batch)]
    fits = memory.fitting_rows(sizes, put.free)
    unit = "rows" if one.method == "sft" else "pairs"
    shared = f" on each of {plan.processes} devices" if plan.processes > 1 else ""
    title = f"{rows} {unit} of {tokens} tokens{shared}"
    return _verdict(what, title, parts(rows), parts(1), put, workers, f"--micro-batch {fits or 1}")


def _divisors(batch: int) -> list[int]:
    """All numbers of rows that a batch can be parted into, from 1 to all."""
    small = [one for one in range(1, math.isqrt(batch) + 1) if batch % one == 0]
    return sorted({*small, *(batch // one for one in small)})


def _with_process(parts: dict[str, int], put: Device) -> dict[str, int]:
    """On a CPU the libraries share the memory with the model."""
    return parts | {"process": PROCESS} if put.kind == "cpu" else parts


def _verdict(
    what: str,
    title: str,
    most: Mapping[str, int],
    least: Mapping[str, int],
    put: Device,
    workers: int,
    mend: str,
) -> Check:
    """missing: not even one row fits. unknown: it does not fit if all rows are of the greatest length."""
    need, floor = (workers * sum(parts.values()) for parts in (most, least))
    title, shown, total = (title, most, need) if floor <= put.free else ("one row", least, floor)
    listed = ", ".join(f"{name} {size(value)}" for name, value in shown.items() if value >= 0.01 * total)
    times = f"{workers} workers, " if workers > 1 else ""
    said = f"{times}{title}: up to {size(total)} of {size(put.free)} free on {put.name} ({listed})"
    if floor > put.free:
        return Check("missing", what, said, "a device with more memory, or a smaller model", needed=True)
    return Check("ok", what, said) if need <= put.free else Check("unknown", what, said, mend)


def _width(precision: str) -> int:
    return memory.HALF if precision == "bfloat16" else memory.FLOAT32
