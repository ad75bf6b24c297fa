"""The commands of sweeps. Heavy imports stand inside: `w2s --help` must answer at once."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from w2s_core.cli.notify import Notifier, notify_option
from w2s_core.cli.options import FAILED, INTERRUPTED, TrackerChoice, compute_options, tracker_options

if TYPE_CHECKING:
    from w2s_core.runs import Machine

Mirror = Callable[[str, Mapping[str, float]], None]

study_argument = click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
storage_option = click.option(
    "--storage", help="URL of Optuna's database; by default the study's, or studies.db in the store."
)


@click.command()
@study_argument
@click.option(
    "--dry-run", is_flag=True, help="Print trials, distinct and cached steps, expected time and disk."
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="First make Optuna's SQLite database anew from the store; the file in its place is moved aside.",
)
@compute_options
@storage_option
@tracker_options
@notify_option
@click.pass_obj
def sweep(
    root: Path,
    study: Path,
    dry_run: bool,
    rebuild: bool,
    machine: "Machine",
    storage: str | None,
    trackers: TrackerChoice,
    notifier: Notifier,
) -> None:
    """Run a study: every cell, each step once.

    Cells are judged on dev; then test is read for the final ones. The same command goes on after an interruption, and
    does nothing when all cells are complete.
    """
    from w2s_core.engine import Store
    from w2s_core.engine.redaction import command_line
    from w2s_core.errors import UserError
    from w2s_sweeps.driver import How, Sweep
    from w2s_sweeps.journal import rebuild as make_anew
    from w2s_sweeps.report import render_dry_run, render_trials
    from w2s_sweeps.storage import default_url
    from w2s_sweeps.study_file import load_study

    loaded = load_study(study)
    store = Store(root)
    if machine.executor == "local" and machine.workers is None:
        machine = replace(machine, workers=loaded.study.workers)
    how = How(
        machine,
        storage=storage,
        dry_run=dry_run,
        command=tuple(command_line()),
        mirror=_mirror(store, root, loaded.study.name, trackers) if trackers else None,
        watch=notifier.event,
    )
    if rebuild:
        if dry_run:
            raise UserError("--rebuild writes a database: leave out --dry-run")
        click.echo(make_anew(storage or loaded.study.storage or default_url(store.root), store), err=True)
    run = Sweep(loaded, store, how)
    if dry_run:
        click.echo(render_dry_run(run, store, machine.workers or os.cpu_count() or 1, machine.device))
        return
    swept = run.run()
    if swept.interrupted:
        sys.exit(INTERRUPTED)
    click.echo(render_trials(run, store))
    click.echo(f"tables: w2s tables --study {loaded.study.name}; compare: w2s dashboard {loaded.study.name}")
    for title, reason in swept.failed.items():
        click.echo(f"w2s: no result: {title}: {reason}", err=True)
    if swept.failed:
        sys.exit(FAILED)


@click.command()
@study_argument
@click.argument("values", metavar="FIELD=VALUE...", nargs=-1)
@compute_options
@storage_option
@tracker_options
@click.pass_obj
def trial(
    root: Path,
    study: Path,
    values: tuple[str, ...],
    machine: "Machine",
    storage: str | None,
    trackers: TrackerChoice,
) -> None:
    """Run one cell of a study, with a value for each field.

    The fields are those that vary. The agents of W&B sweeps call this.
    """
    from w2s_core.engine import Store
    from w2s_core.engine.redaction import command_line
    from w2s_sweeps.driver import How, Sweep
    from w2s_sweeps.study_file import load_study
    from w2s_sweeps.wandb_sweep import read_cell

    loaded = load_study(study)
    store = Store(root)
    run = Sweep(loaded, store, How(machine, storage, command=tuple(command_line())))
    cell = read_cell(loaded, run.planner, values)
    results = run.run_cell(cell)
    if run.swept.interrupted:
        sys.exit(INTERRUPTED)
    if results is None:
        reason = "; ".join(run.swept.failed.values()) or "given up by the pruner"
        click.echo(f"w2s: no result: {reason}", err=True)
        sys.exit(FAILED)
    objectives = dict(zip((goal.metric for goal in loaded.study.objectives), results, strict=True))
    if trackers:
        first = run.plan(cell).runs[0].name  # an agent has one run a trial; values are means over seeds
        _mirror(store, root, loaded.study.name, trackers)(first, objectives)
    click.echo(", ".join(f"{metric} {value:.6g}" for metric, value in objectives.items()))


@click.command(name="wandb-sweep")
@study_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; by default standard output.",
)
@click.pass_obj
def wandb_sweep(root: Path, study: Path, out: Path | None) -> None:
    """Write a study as a W&B sweep.

    Its agents run the trials through `w2s trial` into the same store.
    """
    import yaml

    from w2s_sweeps.study_file import load_study
    from w2s_sweeps.wandb_sweep import sweep_config

    text = yaml.safe_dump(sweep_config(load_study(study), root), sort_keys=False)
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text)
    click.echo(f"wrote {out}; next: wandb sweep {out}, then wandb agent on each machine that shares {root}")


def _mirror(store: Any, root: Path, group: str, trackers: TrackerChoice) -> Mirror:
    """Shows a run to the trackers, with its objectives; they may fail, the sweep does not.

    A warning is printed once, not once a trial, and after the first trial that W&B did not take online all are offline.
    A tracker that was given up gets no more trials: each would wait as long.
    """
    from w2s_core.tracking import mirror_run
    from w2s_core.tracking.backends import NO_WAY_ONLINE
    from w2s_core.tracking.trackers import BACKENDS, TOO_SLOW, to_stderr

    warned: set[str] = set()
    names = list(trackers.names)

    def warn(line: str) -> None:
        if line not in warned:
            to_stderr(line)
        warned.add(line)
        for name in [name for name in names if line.startswith(BACKENDS[name][0]) and TOO_SLOW in line]:
            names.remove(name)
            to_stderr(f"{BACKENDS[name][0]} gets no more trials of this sweep")

    def mirror(name: str, values: Mapping[str, float]) -> None:
        goes_online = trackers.online and not any(NO_WAY_ONLINE in line for line in warned)
        folder = root / "trackers"
        mirror_run(
            store, name, list(names), folder, online=goes_online, group=group, values=values, warn=warn
        )

    return mirror
