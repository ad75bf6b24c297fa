"""`w2s compare`, `w2s tables`, and the reports of `w2s run` and `w2s show`.

Heavy imports stand inside: `w2s --help` must answer at once.
"""

import gc
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from w2s_core.cli.completion import complete_run, complete_study, run_argument
from w2s_core.cli.options import json_option

if TYPE_CHECKING:
    from w2s_core.engine import Store


@click.command()
@click.argument("run_a", shell_complete=complete_run)
@click.argument("run_b", required=False, shell_complete=complete_run)
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
@json_option
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
    as_json: bool,
    **shown: Any,
) -> None:
    """Compare two runs question by question.

    Shown are the difference B - A, its interval and p, also by level, and the questions that changed sides. Without
    --target, every greedy result that both have, and details of the last model that the recipe proposes. The same run
    twice with --target and --against compares two of its models. With --answers, the questions with what both sides
    wrote; RUN_B may then be left out.
    """
    from w2s_analysis.parts.answers import render_answers
    from w2s_analysis.parts.compare import compare_runs, compare_tables
    from w2s_analysis.writing.table import to_document
    from w2s_core.cli.inspection import find_run
    from w2s_core.cli.render import as_json as to_json
    from w2s_core.engine import Store
    from w2s_core.errors import UserError

    store = Store(root)
    first, second = find_run(store, run_a), find_run(store, run_b) if run_b else None
    if as_json and (answers is not None or out):
        raise UserError(
            "--json prints the tables of a comparison: not with --answers (see `w2s responses`) or --out"
        )
    if answers is not None:
        click.echo(render_answers(store, (first, second), (target, against), side=answers, **shown))
    elif second is None:
        raise UserError("compare needs two runs; of one, --answers any shows its responses")
    elif as_json:
        compared = compare_tables(store, (first, second), (target, against), common=common)
        click.echo(to_json({"a": first, "b": second, "tables": list(map(to_document, compared))}))
    else:
        click.echo(compare_runs(store, (first, second), (target, against), common=common, out=out))


@click.command()
@run_argument
@click.argument("name", metavar="STEP_OR_MODEL")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A new file: .jsonl, .jsonl.gz or .parquet.",
)
@click.pass_obj
def responses(root: Path, run_name: str, name: str, out: Path) -> None:
    """Write the responses of a model or step of a run to a file.

    STEP_OR_MODEL is a judged model, which stands for its greedy responses, a graded result (samples/test/ceiling) or a
    step that samples. A row a response: id, question, draw (from 0), response, answer, gold, verdict, level.
    """
    from w2s_analysis.parts.answers import response_rows
    from w2s_core.cli.inspection import find_run
    from w2s_core.engine import Store

    store = Store(root)
    count = _write_new(out, response_rows(store, find_run(store, run_name), name))
    click.echo(f"{out}: {count:,} responses")


def _write_new(out: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a file, which is there whole or not at all and replaces none. Returns how many there were."""
    from w2s_core.errors import UserError
    from w2s_core.jsonl import RowWriter
    from w2s_core.rows import write_rows

    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: there is something of that name already: name a new file")
    if out.name.endswith((".jsonl", ".jsonl.gz")):
        count = 0
        with RowWriter(out) as writer:
            for count, row in enumerate(rows, 1):  # noqa: B007 - the number of the last
                writer.write(row)
        return count
    if out.suffix != ".parquet":
        raise UserError(f"{out}: name it .jsonl, .jsonl.gz or .parquet")
    if not out.parent.is_dir():
        raise UserError(f"{out}: its folder does not exist")
    part = out.with_name(f".{out.name}.part")
    try:
        count = write_rows(part, rows)
        part.rename(out)
    finally:
        part.unlink(missing_ok=True)
    return count


def quicken() -> None:
    """Set the process up for a report: many small objects and products, hardly any garbage.

    Threads of BLAS would only wait for each other, and the collector would walk over all that was read again and again.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(200_000, 100, 100)


@click.command()
@click.argument("run_names", metavar="[RUN]...", nargs=-1, shell_complete=complete_run)
@click.option(
    "--runs", "by_name", is_flag=True, help="The names that follow are runs (the word may be left out)."
)
@click.option(
    "--study", help="All runs of this study, as a sweep recorded them.", shell_complete=complete_study
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True
)
@json_option
@click.pass_obj
def tables(
    root: Path, run_names: tuple[str, ...], by_name: bool, study: str | None, out: Path, as_json: bool
) -> None:
    """Make every table and figure of some runs.

    They and the findings of the runs' recipe are written as Markdown, LaTeX, CSV, PNG and SVG. Without RUN and --study:
    all runs of the store, if those of one recipe share task and strong model. The beginning of a run's name will do.
    Runs of several recipes get a folder each; so do those of several strong models. With --json the tables are printed,
    and nothing is written.
    """
    quicken()
    from w2s_analysis.reading.study import open_frames
    from w2s_analysis.reading.typed import written
    from w2s_analysis.report import report_documents, write_reports
    from w2s_core.cli.inspection import find_run
    from w2s_core.cli.render import as_json as to_json
    from w2s_core.engine import Store
    from w2s_core.engine.redaction import command_line
    from w2s_core.errors import UserError

    if study and run_names:
        raise UserError("give either --study or runs, not both")
    if by_name and not run_names:
        raise UserError("--runs needs the name of at least one run (`w2s runs` lists them)")
    store = Store(root)
    frames = open_frames(store, [find_run(store, name) for name in run_names], study)
    if as_json:
        click.echo(to_json({"reports": list(report_documents(frames, named=bool(run_names)))}))
        return
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
