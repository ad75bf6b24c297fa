"""`w2s accept`: declare that the stored results of a step stand after an edit of its code, list that, take it back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from w2s_core.errors import UserError

if TYPE_CHECKING:
    from w2s_core.engine import Acceptance, Store


@click.command()
@click.argument("step_name", metavar="[STEP]", required=False)
@click.option("--reason", help="Why the results stand; it is shown by explain and beneath tables.")
@click.option(
    "--from",
    "source",
    metavar="KEY",
    help="A result (or the beginning of its key) made by the code to accept; by default the latest other code.",
)
@click.option("--undo", is_flag=True, help="Take the acceptance back: the step's results are made anew.")
@click.option("--list", "listed", is_flag=True, help="List what is accepted; so does the command alone.")
@click.pass_obj
def accept(
    root: Path, step_name: str | None, reason: str | None, source: str | None, undo: bool, listed: bool
) -> None:
    """Let a step's results stand after an edit of its code.

    The edit changed code of STEP and none of its results. The acceptance names the old code and today's: any further
    edit ends it.
    """
    import w2s_core.steps  # noqa: F401 - registers the built-in steps
    from w2s_core.engine import Store

    if step_name is None:
        if reason is not None or source is not None or undo:
            raise UserError("which step? w2s accept STEP --reason TEXT, or w2s accept STEP --undo")
        click.echo(_list(Store(root)))
    elif listed:
        raise UserError("--list lists the acceptances of all steps: w2s accept --list")
    elif undo:
        if reason is not None or source is not None:
            raise UserError("--undo takes neither --reason nor --from")
        click.echo(_undo(Store(root), step_name))
    elif reason is None:
        raise UserError(f"--reason is missing: say why the stored results of step {step_name} stand")
    else:
        click.echo(_accept(Store(root), step_name, reason, source))


def _accept(store: "Store", name: str, reason: str, source: str | None) -> str:
    from w2s_core.engine.accepting import accept as accept_results
    from w2s_core.engine.step import find_step

    return _describe(accept_results(store, find_step(name), reason, source))


def _undo(store: "Store", name: str) -> str:
    from w2s_core.engine.accepting import undo
    from w2s_core.engine.step import find_step, is_registered

    # A step that was removed, or whose plug-in is not imported, may still have an acceptance to take back
    unknown = not is_registered(name) and any(entry.step == name for entry in store.read_acceptances())
    withdrawn = undo(store, name, None if unknown else find_step(name).code_fingerprint)
    return "\n".join(f"taken back: {entry.step} {entry}" for entry in withdrawn)


def _list(store: "Store") -> str:
    from w2s_core.engine.step import find_step, is_registered

    lines = []
    for entry in store.read_acceptances():
        known = is_registered(entry.step)
        state = (
            "in force" if known and find_step(entry.step).code_fingerprint == entry.new else "for other code"
        )
        lines.append(f"{_describe(entry)}\n  {state if known else 'its step is not imported'}")
    return "\n".join(lines) or f"nothing is accepted in {store.root}"


def _describe(entry: "Acceptance") -> str:
    parts = [f"  {name}: {_short(old)} -> {_short(new)}" for name, (old, new) in sorted(entry.parts.items())]
    return "\n".join([f"{entry.step} {entry}", *parts])


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
