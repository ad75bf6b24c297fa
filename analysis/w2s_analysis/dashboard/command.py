"""The command `w2s dashboard`. Imports stand inside: `w2s --help` must answer at once."""

from pathlib import Path

import click

from w2s_core.cli.completion import complete_study


@click.command()
@click.argument("study", required=False, shell_complete=complete_study)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="First port; by default the next free ones from 8100 on."
)
@click.option("--storage", help="URL of Optuna's database; by default studies.db in the store.")
@click.option("--open", "open_page", is_flag=True, help="Open the comparison page in the browser.")
@click.pass_obj
def dashboard(root: Path, study: str | None, port: int | None, storage: str | None, open_page: bool) -> None:
    """Compare runs in the browser, on this machine alone.

    Shown are all runs, or those of one STUDY. optuna-dashboard is started beside it where there is a study, Trackio
    where runs were mirrored to it. Ctrl-C ends all of them.
    """
    from w2s_analysis.dashboard.serve import serve

    serve(root, study, port=port, storage=storage, open_page=open_page, say=click.echo)
