"""`w2s runs`, `rename`, `tag`, `note`, `delete`: list runs, and tidy them."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from w2s_core.cli.completion import complete_override, complete_run, complete_study, run_argument
from w2s_core.errors import UserError

if TYPE_CHECKING:
    from w2s_core.cli.run_list import RunFilter
    from w2s_core.engine import Store

WATCH_S = 2.0


@click.command()
@click.option("--study", metavar="NAME", help="Only runs of this study.", shell_complete=complete_study)
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="Only runs with this tag (and this, and ...)."
)
@click.option("--unfinished", is_flag=True, help="Only runs of which a result is missing.")
@click.option(
    "--where",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Only runs whose experiment has this value, such as seed=1 or evaluation.samples=0.",
    shell_complete=complete_override,
)
@click.option(
    "--accuracy",
    metavar="TARGET",
    multiple=True,
    help="A column with the share of right answers of a graded target, such as greedy/test/dpo.",
)
@click.option(
    "--sort",
    metavar="COLUMN",
    default="run",
    help="run, started, recipe, task, seed, study, done or TARGET.",
)
@click.option("--reverse", is_flag=True, help="The largest first.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects in place of the table.")
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until Ctrl-C.")
@click.pass_obj
def runs(root: Path, /, where: tuple[str, ...], as_json: bool, watch: bool, **choice: Any) -> None:
    """List the runs in the store, with results beside them."""
    from w2s_core.cli.run_list import RunFilter
    from w2s_core.engine import Store
    from w2s_core.experiment import parse_override

    if as_json and watch:
        raise UserError("--watch shows a table: not with --json")
    chosen = RunFilter(where=dict(map(parse_override, where)), **choice)
    shown = None
    while True:
        text = _listed(Store(root), chosen, as_json)
        if text != shown:
            if shown is not None:
                click.clear()
            click.echo(text)
            shown = text
        if not watch:
            return
        time.sleep(WATCH_S)


def _listed(store: "Store", chosen: "RunFilter", as_json: bool) -> str:
    from w2s_core.cli.inspection import render_runs
    from w2s_core.cli.render import as_json as to_json
    from w2s_core.cli.run_list import RunFilter, list_runs

    if not as_json:
        return render_runs(store, None if chosen == RunFilter() else chosen)
    rows = ({**dataclasses.asdict(row), "complete": row.complete} for row in list_runs(store, chosen))
    return to_json(list(rows))


@click.command()
@run_argument
@click.argument("name", metavar="NAME")
@click.pass_obj
def rename(root: Path, run_name: str, name: str) -> None:
    """Give RUN another name. Its results stay where they are."""
    from w2s_core.engine import Store

    store = Store(root)
    old, record = _record(store, run_name)
    if record.get("study"):
        raise UserError(
            f"run {old} is of the study {record['study']}, which names its runs itself: use `w2s tag`"
        )
    store.refs.rename(old, name, {**record, "run": name})
    click.echo(f"{old} is {name} now")


@click.command()
@run_argument
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take these tags off instead.")
@click.pass_obj
def tag(root: Path, run_name: str, tags: tuple[str, ...], remove: bool) -> None:
    """Put tags on a run: words to find it by.

    `w2s runs --tag TAG` lists the runs with a tag.
    """
    from w2s_core.engine import Store
    from w2s_core.engine.refs import TAG

    store = Store(root)
    name, record = _record(store, run_name)
    present = dict.fromkeys(record.get("tags", ()))
    for word in tags:
        if not TAG.fullmatch(word):
            raise UserError(
                f"'{word}' cannot be a tag: use up to 40 letters, digits and . _ = , + : - without spaces"
            )
        if remove and word not in present:
            raise UserError(f"run {name} has no tag '{word}'; it has: {', '.join(present) or 'none'}")
    kept = [word for word in present if word not in tags] if remove else list(present | dict.fromkeys(tags))
    store.refs.write(name, {**record, "tags": kept})
    click.echo(f"{name}: {', '.join(kept) or 'no tags'}")


@click.command()
@run_argument
@click.argument("text", required=False)
@click.pass_obj
def note(root: Path, run_name: str, text: str | None) -> None:
    """Keep a sentence with a run.

    `w2s show` shows it. Without TEXT it is printed; "" takes it off.
    """
    from w2s_core.engine import Store
    from w2s_core.errors import one_line

    store = Store(root)
    name, record = _record(store, run_name)
    if text is not None:
        record = {**record, "note": one_line(" ".join(text.split()))}
        store.refs.write(name, record)
    click.echo(record.get("note") or f"{name} has no note")


@click.command()
@click.argument("run_names", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_run)
@click.pass_obj
def delete(root: Path, run_names: tuple[str, ...]) -> None:
    """Take runs out of the list. Their records go to the store's trash, and results that no other run has go there
    with the next `w2s gc`; `w2s gc --restore` puts both back.
    """
    from w2s_core.engine import Store
    from w2s_core.engine.gc import discard_refs

    store = Store(root)
    names = [_record(store, name)[0] for name in dict.fromkeys(run_names)]
    trash = discard_refs(store, names)
    click.echo(
        f"{', '.join(names)}: the record{'s' * (len(names) > 1)} lie{'s' * (len(names) == 1)} in {trash} now"
    )


def _record(store: "Store", name: str) -> tuple[str, dict[str, Any]]:
    """The whole name of a run, and its record."""
    from w2s_core.cli.inspection import find_run
    from w2s_core.recipes.record import targets_of

    whole = find_run(store, name)
    record = store.refs.read(whole)
    targets_of(whole, record)
    return whole, record
