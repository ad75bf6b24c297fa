"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from w2s_core.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
Hardware = dict[str, int | float | str]


def tracker_options(command: F) -> F:
    """`--wandb`, `--trackio`, `--online`; give them to `chosen_trackers`."""
    for option in (
        click.option("--online", is_flag=True, help="Let W&B send; needs `wandb login` once."),
        click.option("--trackio/--no-trackio", default=False, help="Mirror to a local Trackio database."),
        click.option("--wandb/--no-wandb", default=False, help="Mirror to W&B (offline unless --online)."),
    ):
        command = option(command)
    return command


def chosen_trackers(*, wandb: bool, trackio: bool) -> list[str]:
    """The names of the trackers that were asked for."""
    return [name for name, wanted in (("wandb", wandb), ("trackio", trackio)) if wanted]


def hardware(
    micro_batch: int | None,
    tensor_parallel: int | None,
    gpu_memory: float | None,
    accelerate: Path | None,
    executor: str,
    device: str,
) -> Hardware:
    """What steps find in their runtime besides the device: only what was given.

    Raises:
        UserError: an accelerate config that cannot be used: on this machine and device, or together with Ray.
    """
    if accelerate is not None:
        from w2s_core.models import resolve_device
        from w2s_core.training.accelerate_config import check_device, read_accelerate_config

        if executor == "ray":
            raise UserError("--accelerate starts the processes of a training itself: not with --executor ray")
        check_device(accelerate, read_accelerate_config(accelerate), resolve_device(device))
    given = {
        "micro_batch": micro_batch,
        "tensor_parallel": tensor_parallel,
        "gpu_memory": gpu_memory,
        "accelerate": str(accelerate.resolve()) if accelerate else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def data_option(command: F) -> F:
    """`--data`: local files instead of the hub's."""
    option = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="A folder of train_1, train_2, dev, test as JSONL, in place of the hub's data set.",
    )
    return option(command)


accelerate_option = click.option(
    "--accelerate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A config of accelerate's: trainings run over the processes that it names (experiments/accelerate).",
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)


def compute_options(command: F) -> F:
    """Where and how wide steps are computed; none of it changes a result. For `hardware` below.

    `--workers`, `--executor`, `--address`, `--device`, `--micro-batch`, `--accelerate`, `--tensor-parallel`,
    `--gpu-memory`.
    """
    for option in (
        accelerate_option,
        click.option(
            "--gpu-memory",
            type=click.FloatRange(0, 1, min_open=True),
            help="Share of each GPU's memory that vLLM may take (0.9).",
        ),
        click.option(
            "--tensor-parallel", type=click.IntRange(1), help="GPUs that vLLM spreads a model over (1)."
        ),
        click.option(
            "--micro-batch",
            type=click.IntRange(1),
            help="Rows of a training batch in memory at once; the rest of the batch is accumulated.",
        ),
        device_option,
        click.option(
            "--address", help="A Ray cluster to join: auto, or HOST:PORT; its nodes share the store."
        ),
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="ray: steps are tasks with the CPUs and GPUs that they declare.",
        ),
        click.option(
            "--workers", type=click.IntRange(1, 64), help="Processes side by side (Ray: CPUs to use)."
        ),
    ):
        command = option(command)
    return command
