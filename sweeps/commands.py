"""The commands of sweeps. Heavy imports stand inside: `w2s --help` must answer at once."""

import sys
from pathlib import Path
from typing import Any

import click

INTERRUPTED = 130
FAILED = 1


@click.command()
@click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--dry-run", is_flag=True, help="Print trials, distinct and cached steps, expected time and disk."
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes side by side; by default the study's.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--storage", help="URL of Optuna's database; by default the study's, or studies.db in the store."
)
@click.option("--wandb/--no-wandb", default=False, help="Mirror each trial to W&B, as one group.")
@click.option("--trackio/--no-trackio", default=False, help="Mirror each trial to a local Trackio database.")
@click.option("--online", is_flag=True, help="Let W&B send; needs `wandb login` once.")
@click.pass_obj
def sweep(
    root: Path,
    study: Path,
    dry_run: bool,
    workers: int | None,
    device: str,
    storage: str | None,
    wandb: bool,
    trackio: bool,
    online: bool,
) -> None:
    """Run a study: every cell, each step once, judged on dev; then read test for the final cells.

    The same command goes on after an interruption, and does nothing when all cells are complete.
    """
    from sweeps.driver import How, Sweep
    from sweeps.report import render_dry_run, render_trials
    from sweeps.study_file import load_study
    from w2s_core.engine import Store

    loaded = load_study(study)
    store = Store(root)
    trackers = [name for name, wanted in (("wandb", wandb), ("trackio", trackio)) if wanted]
    how = How(
        workers=workers or loaded.study.workers,
        device=device,
        storage=storage,
        dry_run=dry_run,
        command=("w2s", *sys.argv[1:]),
        mirror=_mirror(store, root, loaded.study.name, trackers, online) if trackers else None,
    )
    run = Sweep(loaded, store, how)
    if dry_run:
        click.echo(render_dry_run(run, store, how.workers))
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


def _mirror(store: Any, root: Path, group: str, trackers: list[str], online: bool) -> Any:
    """Show a run to the trackers; they may fail, the sweep does not."""
    from w2s_core.tracking import mirror_run

    return lambda name: mirror_run(
        store, name, trackers, folder=root / "trackers", online=online, group=group
    )
