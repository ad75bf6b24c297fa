"""`w2s doctor`: what is here, what an experiment needs of it, and the command that mends what is not."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import click

from w2s_core import memory
from w2s_core.cli_options import compute_options, data_option
from w2s_core.doctor import (
    Check,
    Device,
    data_check,
    find_device,
    free_disk,
    machine_checks,
    one_line,
)
from w2s_core.doctor_models import Model, model_checks
from w2s_core.errors import UserError
from w2s_core.render import size

SAMPLING_ROWS = 256
"""Responses drawn at once (`batch_size` of the step `sample`)."""
PROMPT_TOKENS = 256
"""Assumed of a question: long ones of MATH have as many tokens."""
PROCESS = 600_000_000
"""Bytes of Python with torch, transformers and TRL loaded, before any model (measured)."""
CHECKPOINT = 3
"""A training's checkpoint is the adapter and AdamW's two moments."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.argument("overrides", nargs=-1)
@data_option
@compute_options
@click.pass_obj
def doctor(
    root: Path | None,
    /,
    config: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workers: int | None,
    executor: Literal["local", "ray"],
    device: str,
    micro_batch: int | None,
    **_others: Any,  # of run's options, those that change nothing here
) -> None:
    """Check this machine and, with CONFIG, whether that experiment can run on it.

    Takes what `w2s run` takes: OVERRIDES are field=value. Nothing is downloaded or computed. Exit status 1 if
    something that CONFIG needs is missing. `unknown` is what cannot be told from here.
    """
    store = root or Path(".w2s")
    wanted = None
    if config is not None:
        from w2s_core.experiment import load_experiment

        wanted = load_experiment(config, overrides, data)
    elif data is not None:
        raise UserError(
            "--data says something about an experiment: name its file, w2s doctor CONFIG --data DIR"
        )
    checks = list(machine_checks(store))
    if wanted is not None:
        checks += experiment_checks(wanted, store, device, workers or 1, micro_batch)
        asked = {"ray"} if executor == "ray" else set()
        asked |= {wanted.engine}
        checks = [_now_needed(one) if one.what in asked else one for one in checks]
    click.echo(render(checks))
    if wanted is not None and any(one.needed and one.status == "missing" for one in checks):
        sys.exit(1)


def _now_needed(check: Check) -> Check:
    return Check(
        check.status, check.what, check.detail.replace("optional", "needed"), check.mend, needed=True
    )


def render(checks: Iterable[Check]) -> str:
    """Aligned lines: status, what, detail, and the command that mends it after an arrow.

    Names come from files that others wrote: what would move a terminal's cursor is left out.
    """
    listed = list(checks)
    width = max(len(one.what) for one in listed)
    lines = (
        f"{one.status:<7}  {one.what:<{width}}  {one.detail}{'  -> ' + one.mend if one.mend else ''}"
        for one in listed
    )
    return "\n".join("".join(one if one.isprintable() else " " for one in line) for line in lines)


def experiment_checks(
    x: Any, store: Path, device: str, workers: int, micro_batch: int | None
) -> Iterator[Check]:
    """Everything that the experiment `x` needs: data, both models, memory for each kind of step, disk."""
    yield Check("ok", "experiment", f"{x.run_name} (task {x.task.name})")
    questions, line = data_check(x)
    yield line
    models = {}
    for side in ("weak", "strong"):
        try:
            models[side], lines = model_checks(side, getattr(x, side), code=x.trust_remote_code)
        except (OSError, ValueError) as error:  # a path that is none, or that may not be looked at
            models[side] = Model(side, why="its folder cannot be looked at")
            lines = [Check("missing", side, one_line(error), needed=True)]
        yield from lines
    put = find_device(device)
    if put is None:
        yield Check("missing", "device", "torch sees no GPU for --device cuda", "w2s doctor", needed=True)
    trainings, samples = memory.planned(x)
    if put is not None:
        for model in models.values():
            yield from memory_checks(x, model, trainings, put, workers, micro_batch)
    yield disk_check(x, models, trainings, _responses(samples, questions), store, workers)


# Memory and disk


def _responses(samples: list[tuple[int, int, str]], questions: dict[str, int] | None) -> int:
    """Bytes of all responses at most, at four characters a token; 0 where the questions are not known."""
    return sum(4 * n * tokens * questions[split] for n, tokens, split in samples) if questions else 0


def disk_check(
    x: Any,
    models: Mapping[str, Model],
    trainings: list[memory.Training],
    texts: int,
    store: Path,
    workers: int,
) -> Check:
    """Adapters of all trained models, checkpoints of those in work, and texts, against what is free at the store."""
    free = free_disk(store)
    shapes = {side: model.shape for side, model in models.items()}
    adapters = [
        sum(memory.lora_parameters(shape, rank) for rank in one.ranks) * memory.FLOAT32
        for one in trainings
        if (shape := shapes[one.side]) is not None
    ]
    if len(adapters) < len(trainings) or free is None:
        return Check("unknown", "store", f"{len(trainings)} adapters of unknown size")
    need = sum(adapters) + workers * CHECKPOINT * max(adapters) + texts
    said = f"up to {size(need)} for {len(trainings)} adapters, checkpoints and texts; {size(free)} free"
    if need > free:
        return Check("missing", "store", said, "w2s --store DIR run CONFIG", needed=True)
    return Check("ok", "store", said)


def memory_checks(
    x: Any, model: Model, trainings: list[memory.Training], put: Device, workers: int, micro_batch: int | None
) -> Iterator[Check]:
    """Sampling from the model, and each kind of training of it, against the device's free memory."""
    if model.shape is None:
        yield Check("unknown", f"{model.side} memory", model.why)
        return
    yield _sampling_check(x, model, model.shape, put, workers)
    seen: list[tuple[str, dict[str, Any]]] = []
    for one in trainings:
        if one.side == model.side and (one.method, one.settings) not in seen:
            seen.append((one.method, one.settings))
            yield _training_check(model, model.shape, one, put, workers, micro_batch)


def _sampling_check(x: Any, model: Model, shape: memory.Shape, put: Device, workers: int) -> Check:
    what, own = f"{model.side} sampling", x.max_new_tokens
    if shape.context is not None and own >= shape.context:
        said = (
            f"max_new_tokens = {own} leaves no room for a question in its context of {shape.context} tokens"
        )
        return Check("missing", what, said, f"max_new_tokens={shape.context // 2}", needed=True)
    examples = x.shots * (PROMPT_TOKENS + own) if model.side == "strong" else 0

    def parts(rows: int) -> dict[str, int]:
        shared, width = examples + rows * PROMPT_TOKENS, memory.HALF if put.kind == "cuda" else memory.FLOAT32
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


def _training_check(
    model: Model,
    shape: memory.Shape,
    one: memory.Training,
    put: Device,
    workers: int,
    micro_batch: int | None,
) -> Check:
    what, batch = f"{model.side} {one.method}", int(one.settings["batch_size"])
    rows = min(micro_batch or batch, batch)
    if batch % rows:
        said = f"--micro-batch {rows} does not divide the batch of {batch} rows"
        return Check("missing", what, said, f"--micro-batch {_divisors(batch)[-2]}", needed=True)
    tokens = min(int(one.settings["max_length"]), shape.context or int(one.settings["max_length"]))

    def parts(count: int) -> dict[str, int]:
        rank, gpu = int(one.settings["lora_r"]), put.kind == "cuda"
        need = memory.training_memory(
            shape, model.parameters, method=one.method, rank=rank, rows=count, tokens=tokens, gpu=gpu
        )
        return _with_process(need, put)

    sizes = [(count, workers * sum(parts(count).values())) for count in _divisors(batch)]
    fits = memory.fitting_rows(sizes, put.free)
    unit = "rows" if one.method == "sft" else "pairs"
    title = f"{rows} {unit} of {tokens} tokens"
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
