"""The nine options of a machine reach a command as one value, and those of trackers as another."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from w2s_core.cli.options import (
    TrackerChoice,
    compute_options,
    tracker_options,
    unchecked_compute_options,
)
from w2s_core.errors import UserError
from w2s_core.models.machine import cores
from w2s_core.runs import Machine

EVERY_OPTION = [
    *("--workers", "3", "--executor", "ray", "--address", "auto", "--device", "cpu", "--micro-batch", "4"),
    *("--tensor-parallel", "2", "--gpu-memory", "0.5"),
]


@pytest.fixture
def machines() -> list[Machine]:
    """What the commands below were given."""
    return []


def invoke(command: click.Command, *arguments: str) -> None:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0, result.output


def test_every_option_arrives(machines: list[Machine]) -> None:
    def take(machine: Machine) -> None:
        machines.append(machine)

    command = click.command()(compute_options(take))
    invoke(command)
    invoke(command, *EVERY_OPTION)
    assert machines == [
        Machine(device="auto"),
        Machine(3, "ray", "auto", "cpu", 4, None, 2, 0.5),
    ]
    assert machines[0].runtime == {"device": "auto", "threads": [1, cores()]}
    assert machines[1].runtime == {
        "device": "cpu",
        "micro_batch": 4,
        "tensor_parallel": 2,
        "gpu_memory": 0.5,
    }


def test_threads_are_as_given_or_follow_the_workers() -> None:
    machines: list[Machine] = []
    command = click.command()(compute_options(lambda machine: machines.append(machine)))  # noqa: PLW0108 - by name
    for arguments in (["--threads", "3"], ["--threads", "auto", "--workers", "64"]):
        invoke(command, *arguments)
    assert [machine.runtime["threads"] for machine in machines] == [[3, 3], [1, max(1, cores() // 64)]]
    for refused, reason in (("0", "0 is not in the range"), ("many", "'many' is not a valid integer")):
        with pytest.raises(click.BadParameter, match=reason):
            CliRunner().invoke(command, ["--threads", refused], catch_exceptions=False, standalone_mode=False)
    with pytest.raises(UserError, match="--threads: a Ray task has the one CPU"):
        invoke(command, "--threads", "2", "--executor", "ray")


def test_a_command_may_take_a_machine_that_cannot_be_had_here(machines: list[Machine]) -> None:
    def take(machine: Machine) -> None:
        machines.append(machine)

    arguments = ["--accelerate", "nowhere.yaml", "--device", "cpu"]
    invoke(click.command()(unchecked_compute_options(take)), *arguments)
    assert machines == [Machine(device="cpu", accelerate=Path("nowhere.yaml"))]
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot read"):
        invoke(click.command()(compute_options(take)), *arguments)


@pytest.mark.parametrize(
    ("machine", "apart"),
    [
        (Machine(), False),
        (Machine(workers=1), False),
        (Machine(workers=2), True),
        (Machine(executor="ray", workers=1), True),
    ],
)
def test_steps_are_apart_with_workers_or_ray(machine: Machine, apart: bool) -> None:
    assert machine.apart is apart


def test_trackers_arrive_as_one_value() -> None:
    choices: list[TrackerChoice] = []

    def take(trackers: TrackerChoice) -> None:
        choices.append(trackers)

    command = click.command()(tracker_options(take))
    invoke(command)
    invoke(command, "--wandb", "--trackio", "--online")
    invoke(command, "--trackio")
    assert choices == [
        TrackerChoice((), online=False),
        TrackerChoice(("wandb", "trackio"), online=True),
        TrackerChoice(("trackio",), online=False),
    ]
    assert [bool(choice) for choice in choices] == [False, True, True]


def test_options_keep_their_order_in_the_help() -> None:
    command = click.command()(compute_options(tracker_options(lambda: None)))
    names = [parameter.name for parameter in command.params]
    assert names == [
        *(
            "workers",
            "threads",
            "executor",
            "address",
            "device",
            "micro_batch",
            "tensor_parallel",
            "gpu_memory",
        ),
        *("accelerate", "wandb", "trackio", "online"),
    ]
