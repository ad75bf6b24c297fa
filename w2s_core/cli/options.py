"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

if TYPE_CHECKING:
    from w2s_core.runs import Machine

F = TypeVar("F", bound=Callable[..., Any])
# what a command ends with
INTERRUPTED = 130
FAILED = 1


@dataclass(frozen=True)
class TrackerChoice:
    """The trackers that a command mirrors its runs to, and whether W&B may send. False where there are none."""

    names: tuple[str, ...]
    online: bool

    def __bool__(self) -> bool:
        return bool(self.names)


def tracker_options(command: F) -> F:
    """`--wandb`, `--trackio`, `--online`; the command gets one argument, `trackers: TrackerChoice`."""

    def gather(wandb: bool, trackio: bool, online: bool) -> dict[str, Any]:
        names = tuple(name for name, use in (("wandb", wandb), ("trackio", trackio)) if use)
        return {"trackers": TrackerChoice(names, online)}

    return _gathered(
        command,
        gather,
        click.option("--wandb/--no-wandb", default=False, help="Mirror to W&B (offline unless --online)."),
        click.option("--trackio/--no-trackio", default=False, help="Mirror to a local Trackio database."),
        click.option("--online", is_flag=True, help="Let W&B send; needs `wandb login` once."),
    )


def _gathered(command: F, gather: Callable[..., dict[str, Any]], *options: Callable[[F], F]) -> F:
    """Give a command options whose values it gets as what `gather` makes of them, by the options' names."""
    names = inspect.signature(gather).parameters

    @functools.wraps(command)
    def with_gathered(*args: Any, **values: Any) -> Any:
        arguments = gather(**{name: values.pop(name) for name in names})
        return command(*args, **values, **arguments)

    wrapped: Any = with_gathered
    for option in reversed(
        options
    ):  # click lists options in the order of the decorators, the last applied first
        wrapped = option(wrapped)
    return cast(F, wrapped)


def data_option(command: F) -> F:
    """`--data`: local files instead of the hub's."""
    option = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="A folder of train_1, train_2, dev, test as JSONL, in place of the hub's data set.",
    )
    return option(command)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document in place of the text.")

device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)


class _ThreadsType(click.ParamType[int | None]):
    """`auto` (None), or a number from 1 to 1,024."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        return None if value == "auto" else click.IntRange(1, 1024).convert(value, param, ctx)


def compute_options(command: F) -> F:
    """Where and how wide steps are computed; none of it changes a result.

    `--workers`, `--threads`, `--executor`, `--address`, `--device`, `--micro-batch`, `--accelerate`,
    `--tensor-parallel`, `--gpu-memory`. The command gets one argument, `machine: w2s_core.runs.Machine`, which can be
    had here.
    """
    return _machine_options(command, lambda machine: machine.checked())


def unchecked_compute_options(command: F) -> F:
    """The same for a command that itself tells what cannot be had here."""
    return _machine_options(command, lambda machine: machine)


def _machine_options(command: F, check: Callable[["Machine"], "Machine"]) -> F:
    def gather(
        workers: int | None,
        executor: Literal["local", "ray"],
        address: str | None,
        device: str,
        micro_batch: int | None,
        accelerate: Path | None,
        tensor_parallel: int | None,
        gpu_memory: float | None,
        threads: int | None,
    ) -> dict[str, Any]:
        from w2s_core.runs import Machine

        machine = Machine(
            workers, executor, address, device, micro_batch, accelerate, tensor_parallel, gpu_memory, threads
        )
        return {"machine": check(machine)}

    return _gathered(
        command,
        gather,
        click.option(
            "--workers", type=click.IntRange(1, 64), help="Processes side by side (Ray: CPUs to use)."
        ),
        click.option(
            "--threads",
            type=_ThreadsType(),
            default="auto",
            show_default=True,
            help="CPU threads of each process; auto: 1 for small bases, cores / workers for large ones.",
        ),
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="ray: steps are tasks with the CPUs and GPUs that they declare.",
        ),
        click.option(
            "--address", help="A Ray cluster to join: auto, or HOST:PORT; its nodes share the store."
        ),
        device_option,
        click.option(
            "--micro-batch",
            type=click.IntRange(1),
            help="Rows of a training batch in memory at once; the rest of the batch is accumulated.",
        ),
        click.option(
            "--tensor-parallel", type=click.IntRange(1), help="GPUs that vLLM spreads a model over (1)."
        ),
        click.option(
            "--gpu-memory",
            type=click.FloatRange(0, 1, min_open=True),
            help="Share of each GPU's memory that vLLM may take (0.9).",
        ),
        click.option(
            "--accelerate",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A config of accelerate's: trainings run over the processes that it names "
            "(experiments/accelerate).",
        ),
    )
