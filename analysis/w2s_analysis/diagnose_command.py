"""`w2s diagnose`. Heavy imports stand inside: `w2s --help` must answer at once."""

import json
import os
from pathlib import Path

import click

from w2s_core.cli.completion import run_argument


@click.command()
@run_argument
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Save the findings here too."
)
@click.pass_obj
def diagnose(root: Path, run_name: str, file: Path | None) -> None:
    """Say which failure signatures of its recipe a run shows.

    Each comes with its evidence, its rule and what to try. A rule holds a measured quantity with its 95 % interval
    against a limit: shown, not shown, not resolved, or no data. The beginning of the run's name will do.
    """
    # The products behind a measure are small: threads of BLAS would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from w2s_analysis.parts.part import load_report
    from w2s_analysis.parts.rules import records, render
    from w2s_core.cli.inspection import find_run
    from w2s_core.engine import Store
    from w2s_core.errors import UserError
    from w2s_core.plugins import RECIPES
    from w2s_core.recipes.record import read_record, recipe_name

    store = Store(root)
    run = find_run(store, run_name)
    recipe = recipe_name(read_record(store.refs, run))
    RECIPES.get(recipe)  # a recipe that is not there is told as that, not as one without signatures
    report = load_report(recipe)
    if report is None or report.diagnose is None:
        click.echo(f"{run}: the recipe '{recipe}' states no failure signatures")
        return
    findings = report.diagnose(store, run)
    if file is not None:
        text = json.dumps({"run": run, "findings": records(findings)}, indent=1, allow_nan=False) + "\n"
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{file}: cannot write the findings: {error.strerror}") from None
    click.echo(render(run, findings), nl=False)
