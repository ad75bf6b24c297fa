"""`w2s compare`, `w2s tables`, and the reports of `w2s run` and `w2s show`.

Heavy imports stand inside: `w2s --help` must answer at once.
"""

import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from w2s_core.engine import Store


@click.command()
@click.argument("run_a")
@click.argument("run_b", required=False)
@click.option("--target", help="Compare this result alone, such as ceiling or greedy/dev/ceiling.")
@click.option("--against", help="RUN_B's result, where it is another than RUN_A's --target.")
@click.option("--common", is_flag=True, help="Leave out questions that only one of them was graded on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save the tables here too, all changes in CSV.",
)
@click.option(
    "--answers",
    metavar="SIDE",
    help="Show questions and responses instead: 'changed sides', 'only A', 'only B', 'both right', 'neither' or 'any'; "
    "of RUN_A alone 'right', 'not right' or 'any'.",
)
@click.option("--level", default="any", help="With --answers: questions of this level.")
@click.option("--verdict", default="any", help="With --answers: questions with a response of this verdict.")
@click.option("--page", type=click.IntRange(1), default=1, help="With --answers: ten questions a page.")
@click.pass_obj
def compare(
    root: Path,
    /,
    run_a: str,
    run_b: str | None,
    target: str | None,
    against: str | None,
    common: bool,
    out: Path | None,
    answers: str | None,
    **shown: Any,
) -> None:
    """Compare two runs question by question: difference B - A, its interval and p, by level, and what changed sides.

    Without --target, every greedy result that both have, and details of the last model that the recipe proposes. The
    same run twice with --target and --against compares two of its models. With --answers, the questions with what both
    sides wrote; RUN_B may then be left out.
    """
    from w2s_analysis.parts.answers import render_answers
    from w2s_analysis.parts.compare import compare_runs
    from w2s_core.cli.inspection import find_run
    from w2s_core.engine import Store
    from w2s_core.errors import UserError

    store = Store(root)
    first, second = find_run(store, run_a), find_run(store, run_b) if run_b else None
    if answers is not None:
        click.echo(render_answers(store, (first, second), (target, against), side=answers, **shown))
    elif second is None:
        raise UserError("compare needs two runs; of one, --answers any shows its responses")
    else:
        click.echo(compare_runs(store, (first, second), (target, against), common=common, out=out))


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
    """Make every table and figure of some runs, and their recipe's findings, as Markdown, LaTeX, CSV, PNG and SVG.

    Without RUN and --study: all runs of the store, if those of one recipe share task and strong model. The beginning of
    a run's name will do. Runs of several recipes get a folder each; so do those of several strong models.
    """
    quicken()
    from w2s_analysis.reading.study import open_frames
    from w2s_analysis.reading.typed import written
    from w2s_analysis.report import write_reports
    from w2s_core.cli.inspection import find_run
    from w2s_core.engine import Store
    from w2s_core.engine.redaction import command_line
    from w2s_core.errors import UserError

    if study and run_names:
        raise UserError("give either --study or runs, not both")
    if by_name and not run_names:
        raise UserError("--runs needs the name of at least one run (`w2s runs` lists them)")
    store = Store(root)
    frames = open_frames(store, [find_run(store, name) for name in run_names], study)
    command = written(command_line())
    click.echo(write_reports(frames, out, command, named=bool(run_names)))


def render_run(store: "Store", name: str) -> str:
    """The tables of one run as text, for `w2s show`."""
    from w2s_analysis.report import render_run as render

    return render(store, name)


def save_report(store: "Store", names: Sequence[str], out: Path, command: Sequence[str] = ()) -> str:
    """Save the report of the runs that a command computed, for `w2s run`. Returns what to print."""
    from w2s_analysis.report import save_report as save

    return save(store, names, out, command)
