"""`w2s doctor`. Imports stand inside: its help must answer at once."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from w2s_core.cli.completion import overrides_argument
from w2s_core.cli.options import data_option, unchecked_compute_options

if TYPE_CHECKING:
    from w2s_core.runs import Machine


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@overrides_argument
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
    """Check this machine, and what an experiment needs of it.

    With CONFIG, whether that experiment can run here. Takes what `w2s run` takes: OVERRIDES are field=value. Nothing is
    downloaded or computed. Exit status 1 if something that CONFIG needs is missing. `unknown` is what cannot be told
    from here.
    """
    from w2s_core.doctor.checks import experiment_checks, now_needed, render
    from w2s_core.doctor.machine import machine_checks
    from w2s_core.errors import UserError

    store = root or Path(".w2s")
    experiment = None
    if config is not None:
        from w2s_core.experiment import load_experiment

        experiment = load_experiment(config, overrides, data)
    elif data is not None:
        raise UserError(
            "--data says something about an experiment: name its file, w2s doctor CONFIG --data DIR"
        )
    checks = list(machine_checks(store))
    if experiment is not None:
        needed = {"ray", experiment.engine} if machine.executor == "ray" else {experiment.engine}
        checks += experiment_checks(experiment, store, machine)
        checks = [now_needed(check) if check.topic in needed else check for check in checks]
    click.echo(render(checks))
    if experiment is not None and any(check.needed and check.status == "missing" for check in checks):
        sys.exit(1)
