"""`w2s tables`. Heavy imports stand inside: `w2s --help` must answer at once."""

import gc
import os
import sys
from pathlib import Path

import click


def quicken() -> None:
    """Set the process up for a report: many small objects and products, hardly any garbage.

    Threads of BLAS would only wait for each other, and the collector would walk over all that was read again and again.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(200_000, 100, 100)


@click.command()
@click.argument("run_names", metavar="[RUN]...", nargs=-1)
@click.option(
    "--runs", "by_name", is_flag=True, help="The names that follow are runs (the word may be left out)."
)
@click.option("--study", help="All runs of this study, as a sweep recorded them.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True
)
@click.pass_obj
def tables(root: Path, run_names: tuple[str, ...], by_name: bool, study: str | None, out: Path) -> None:
    """Make every table and figure of some runs, and findings F1-F9, as Markdown, LaTeX, CSV, PNG and SVG.

    Without RUN and --study: all runs of the store, if they share task and strong model. The beginning of a run's name
    will do. Runs of several strong models get a folder each, and the grid of PGR over weak and strong models.
    """
    quicken()
    from analysis.report import write_reports
    from analysis.reading.study import open_frames
    from analysis.reading.typed import written
    from w2s_core.engine import Store
    from w2s_core.errors import UserError
    from w2s_core.cli.inspection import find_run

    if study and run_names:
        raise UserError("give either --study or runs, not both")
    if by_name and not run_names:
        raise UserError("--runs needs the name of at least one run (`w2s runs` lists them)")
    store = Store(root)
    frames = open_frames(store, [find_run(store, name) for name in run_names], study)
    command = written(["w2s", *sys.argv[1:]])
    click.echo(write_reports(frames, out, command, named=bool(run_names)))
