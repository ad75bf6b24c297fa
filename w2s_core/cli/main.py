"""The command line. Imports stay inside the commands: `w2s --help` must answer at once."""

import io
import json
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from w2s_core.cli.completion import complete_run, overrides_argument, run_argument
from w2s_core.cli.extensions import ExtensibleGroup, hook
from w2s_core.cli.notify import Notifier, notify_option
from w2s_core.cli.options import (
    FAILED,
    INTERRUPTED,
    TrackerChoice,
    compute_options,
    data_option,
    device_option,
    json_option,
    tracker_options,
)
from w2s_core.errors import UserError, describe
from w2s_core.plugins import import_module

if TYPE_CHECKING:
    from w2s_core.runs import Machine

USER_ERROR = 2


@click.group(cls=ExtensibleGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".w2s"),
    envvar="W2S_STORE",
    show_default=True,
    help="Folder of all results (or set W2S_STORE).",
)
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import a module that registers recipes, tasks or answer rules: its dotted name, or a path to a .py file. "
    "May be given again; or set W2S_IMPORT (commas between).",
)
@click.version_option(package_name="w2s")
@click.pass_context
def w2s(ctx: click.Context, store: Path, modules: tuple[str, ...]) -> None:
    """Weak-to-strong reasoning: run the method as cached steps, ablate it, compare runs."""
    ctx.obj = store
    from_shell = re.split(f"[,{re.escape(os.pathsep)}]", os.environ.get("W2S_IMPORT", ""))
    for module in (*filter(None, map(str.strip, from_shell)), *modules):
        if not import_module(module):  # no error: it may change a library, such as add a model class
            click.echo(
                f"warning: --import {module} adds nothing: neither a recipe, a task, an answer rule nor a step; "
                "a recipe is added with RECIPES.register(name, recipe)",
                err=True,
            )


@w2s.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@overrides_argument
@click.option("--name", help="Name of the run; by default the experiment's name and a digest of its fields.")
@data_option
@compute_options
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out"), show_default=True
)
@tracker_options
@notify_option
@click.pass_obj
def run(
    root: Path,
    config: Path,
    overrides: tuple[str, ...],
    name: str | None,
    data: Path | None,
    machine: "Machine",
    out: Path,
    trackers: TrackerChoice,
    notifier: Notifier,
) -> None:
    """Run an experiment: compute what is missing.

    Then its table and figure are printed and saved. OVERRIDES are field=value, for example seed=1 or
    evaluation.samples=0.
    """
    from w2s_core import runs
    from w2s_core.engine import Store
    from w2s_core.engine.redaction import command_line
    from w2s_core.engine.refs import check_name
    from w2s_core.experiment import load_experiment
    from w2s_core.preflight import check_graphs
    from w2s_core.step_labels import label_steps

    if name is not None:
        check_name(name)
    graph = runs.build_graph(load_experiment(config, overrides, data), machine.device)
    store = Store(root)
    name = name or graph.experiment.run_name
    _say_duplicates(graph)
    check_graphs([graph], store, apart=machine.apart)
    outcome = runs.run_experiment(
        graph, store, machine, name=name, command=command_line(), watch=notifier.event
    )
    if outcome.interrupted:
        sys.exit(INTERRUPTED)
    _mirror(store, name, root, trackers)
    if save_report := hook("save_report"):
        click.echo(save_report(store, [name], out / name, command_line()))
    if outcome.failed or outcome.stopped:
        _say_stopped(outcome, label_steps(graph.targets))
        sys.exit(FAILED)


@w2s.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@overrides_argument
@data_option
@device_option
@click.option(
    "--measure", is_flag=True, help="Time a few steps of each base model here first: seconds to a minute."
)
@json_option
@click.pass_obj
def plan(
    root: Path,
    config: Path,
    overrides: tuple[str, ...],
    data: Path | None,
    device: str,
    measure: bool,
    as_json: bool,
) -> None:
    """Show the steps of an experiment, and which are cached.

    Each step has the time that it is expected to take. Times are those of alike steps in the store. Where it has none,
    --measure times this machine on the base models; later plans use what was measured.
    """
    from w2s_core.cli.inspection import plan_document, render_plan
    from w2s_core.cli.render import as_json as to_json
    from w2s_core.engine import Store
    from w2s_core.experiment import load_experiment
    from w2s_core.runs import build_graph

    graph = build_graph(load_experiment(config, overrides, data), device)
    if as_json:
        click.echo(to_json(plan_document(graph, Store(root), device, measure=measure)))
    else:
        click.echo(render_plan(graph, Store(root), device, measure=measure))


@w2s.command()
@run_argument
@json_option
@click.pass_obj
def show(root: Path, run_name: str, as_json: bool) -> None:
    """Show a run: its experiment, its results, its tables.

    What is not computed yet is left open. With --json the tables are left out: `w2s tables RUN --json` gives them.
    """
    from w2s_core.cli.inspection import find_run, render_record, run_document
    from w2s_core.cli.render import as_json as to_json
    from w2s_core.engine import Store

    store = Store(root)
    name = find_run(store, run_name)
    if as_json:
        click.echo(to_json(run_document(store, name)))
        return
    click.echo(render_record(store, name))
    if render_run := hook("render_run"):
        click.echo(render_run(store, name))


@w2s.command()
@run_argument
@click.argument("step_name", metavar="STEP")
@click.option(
    "--against",
    metavar="RUN",
    help="Another run: say which input makes this step differ there.",
    shell_complete=complete_run,
)
@click.pass_obj
def explain(root: Path, run_name: str, step_name: str, against: str | None) -> None:
    """Explain why a step has its key.

    With --against, what differs from the same step of another run.
    """
    from w2s_core.cli.inspection import find_run, render_explanation
    from w2s_core.engine import Store

    store = Store(root)
    other = find_run(store, against) if against else None
    click.echo(render_explanation(store, find_run(store, run_name), step_name, other))


@w2s.command()
@click.option(
    "--quick",
    is_flag=True,
    help="Read manifests and refs, and of all other files only names, kinds and sizes.",
)
@click.pass_obj
def verify(root: Path, quick: bool) -> None:
    """Check every file of every result in the store.

    Each file must have the digest that was noted when it was written. With --quick, every manifest's own digest, and
    that the files which it lists are there, with the sizes that it lists, and no others: damage to a file's bytes that
    leaves its size goes unseen.
    """
    from w2s_core.engine.store import KEY, Store

    store = Store(root)
    problems = list(store.verify(quick=quick))
    for problem in problems:
        click.echo(str(problem), err=True)
    if any(KEY.fullmatch(problem.name) for problem in problems):
        click.echo(
            "a damaged result is set aside, and computed again, when a command next needs it; to be rid of it now, "
            f"delete its folder under {store.root / 'objects'}",
            err=True,
        )
    checked = len(list(store.keys()))
    click.echo(json.dumps({"objects": checked, "problems": len(problems)}))
    if problems:
        sys.exit(FAILED)


@w2s.command()
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option("--empty-trash", is_flag=True, help="Delete earlier trash for good now, not after a week.")
@click.option("--restore", is_flag=True, help="Put the results and runs in the trash back instead.")
@click.pass_obj
def gc(root: Path, dry_run: bool, empty_trash: bool, restore: bool) -> None:
    """Move results that no run points at to the store's trash.

    The trash of earlier calls is deleted after a week.
    """
    from w2s_core.cli.inspection import render_garbage
    from w2s_core.engine import Store, collect
    from w2s_core.engine import restore as put_back

    if restore:
        if dry_run or empty_trash:
            raise UserError(
                "--restore goes alone: it neither looks for results to remove nor empties the trash"
            )
        results, records = put_back(Store(root))
        click.echo(json.dumps({"restored": results, "runs": records}))
        return
    garbage = collect(Store(root), dry_run=dry_run, empty_trash=empty_trash)
    click.echo(render_garbage(garbage, dry_run), err=True)
    click.echo(json.dumps({"dry_run": dry_run, **garbage.counts()}))


def _say_duplicates(graph: Any) -> None:
    """On stderr, the questions that the leak gate met twice, and what was done about them."""
    duplicates = graph.splits.duplicates
    if not duplicates:
        return
    counts = Counter(f"{copy.split} repeats {copy.first_split}" for copy in duplicates)
    listed = ", ".join(f"{pair}: {count}" for pair, count in sorted(counts.items()))
    treatment = (
        f"{graph.splits.dropped} dropped"
        if graph.splits.dropped
        else "kept (duplicates: drop takes them out)"
    )
    click.echo(f"duplicate questions: {listed}; {treatment}", err=True)


def _say_stopped(outcome: Any, labels: dict[str, str]) -> None:
    """The last line of a run that is not complete: why, and how many steps could not run because of it."""
    reasons = list(dict.fromkeys(outcome.reasons.values()))
    names = sorted(labels.get(key, key[:12]) for key in outcome.stopped.keys() - outcome.reasons.keys())
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    waiting = f"; {len(names)} steps could not run for that reason: {', '.join(names[:3])}{more}"
    _say_error(f"incomplete: {'; '.join(reasons)}{waiting if names else ''}")


def _mirror(store: Any, name: str, root: Path, trackers: TrackerChoice) -> None:
    """Mirror the run's record to the trackers. An error of theirs does not fail the run."""
    if trackers:
        from w2s_core.tracking import mirror_run

        mirror_run(store, name, list(trackers.names), folder=root / "trackers", online=trackers.online)


def _redacted(message: str) -> str:
    from w2s_core.engine.redaction import redact_text

    return redact_text(message)


def _say_error(message: str) -> None:
    click.echo(f"w2s: {_redacted(message)}", err=True)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and status 2, an interrupt status 130.

    SIGTERM and SIGHUP interrupt as Ctrl-C does, unless the caller has them ignored (nohup).
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        status = w2s.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except UserError as error:
        _say_error(str(error))
        sys.exit(USER_ERROR)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(file=text)
        click.echo(_redacted(text.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("w2s: interrupted; the same command goes on where it stopped", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head`, is gone: Python must not fail again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as error:
        _say_error(describe(error))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
