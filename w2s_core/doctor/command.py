"""`w2s doctor`: what is here, what an experiment needs of it, and the command that mends what is not."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from w2s_core.cli.options import data_option, unchecked_compute_options
from w2s_core.cli.render import size
from w2s_core.doctor import memory
from w2s_core.doctor.base_models import Model, model_checks
from w2s_core.doctor.fit import Plan, memory_checks
from w2s_core.doctor.machine import (
    MEND,
    Check,
    data_check,
    find_device,
    free_disk,
    machine_checks,
    one_line,
)
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.models import resolve_device
from w2s_core.training.accelerate_config import check_device, read_accelerate_config

if TYPE_CHECKING:
    from w2s_core.runs import Machine

CHECKPOINT = 3
"""A training's checkpoint is the adapter and AdamW's two moments."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.argument("overrides", nargs=-1)
@data_option
@unchecked_compute_options
@click.pass_obj
def doctor(
    root: Path | None,
    /,
    config: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    machine: "Machine",
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
        device, launch = machine.device, machine.accelerate
        shared = read_accelerate_config(launch) if launch else {}
        if launch:
            checks.append(_accelerate_check(launch, shared, resolve_device(device)))
        checks += experiment_checks(wanted, store, device, machine.workers or 1, machine.micro_batch, shared)
        asked = {"ray"} if machine.executor == "ray" else set()
        asked |= {wanted.engine}
        checks = [_now_needed(one) if one.what in asked else one for one in checks]
    click.echo(render(checks))
    if wanted is not None and any(one.needed and one.status == "missing" for one in checks):
        sys.exit(1)


def _accelerate_check(path: Path, config: Mapping[str, Any], device: str) -> Check:
    try:
        check_device(path, config, device)
    except UserError as error:
        return Check("missing", "accelerate", str(error), needed=True)
    return Check("ok", "accelerate", f"{config['num_processes']} processes, {config['distributed_type']}")


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
    x: Experiment,
    store: Path,
    device: str,
    workers: int,
    micro_batch: int | None,
    accelerate: Mapping[str, Any],
) -> Iterator[Check]:
    """Everything that the experiment `x` needs: data, both models, memory for each kind of step, disk."""
    x = x.on(resolve_device(device))
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
    try:
        trainings, samples = memory.planned(x)
    except UserError as error:  # 4-bit weights without bitsandbytes
        yield Check("missing", "load_in_4bit", str(error), MEND["bitsandbytes"], needed=True)
        return
    if put is not None:
        plan = Plan(put, workers, micro_batch, accelerate)
        for model in models.values():
            yield from memory_checks(x, model, trainings, plan)
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
