"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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


def device_option(command: F) -> F:
    """`--device`: where models compute."""
    return click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
    )(command)
