"""Execute the example notebooks into HTML: `python -m w2s_analysis.notebooks --out out/notebooks`."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from w2s_core.cli.examples import examples
from w2s_core.errors import UserError


def notebooks() -> list[Path]:
    """The notebooks, in order of their names."""
    return sorted((examples() / "analysis").glob("*.ipynb"))


def run_notebook(path: Path, out: Path, *, timeout_s: int = 600) -> Path:
    """Execute a notebook where one stands, and write it as HTML into a folder. The notebook itself stays as it is.

    Raises:
        UserError: the notebook's tools are not installed, or a cell fails.
    """
    try:
        client, nbformat, export = map(importlib.import_module, ("nbclient", "nbformat", "nbconvert"))
    except ImportError as error:
        raise UserError(f"notebooks need {error.name}: pip install 'w2s[dev]'") from None
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(Path.cwd())}}
    run = client.NotebookClient(notebook, timeout=timeout_s, kernel_name="python3", resources=folder)
    run.km = run.create_kernel_manager()
    run.km.transport = "ipc"  # the kernel listens on a socket of ours, not on a port
    try:
        run.execute()
    except client.exceptions.CellExecutionError as error:
        raise UserError(f"{path.name}: a cell failed: {error.ename}: {error.evalue}") from None
    body, _ = export.HTMLExporter().from_notebook_node(notebook)
    out.mkdir(parents=True, exist_ok=True)
    page = out / f"{path.stem}.html"
    page.write_text(body, encoding="utf-8")
    return page


@click.command()
@click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), default=Path(".w2s"), envvar="W2S_STORE"
)
@click.option("--study", envvar="W2S_STUDY", help="The study to show; by default all runs of the store.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out/notebooks"))
@click.argument("names", nargs=-1)
def execute(store: Path, study: str | None, out: Path, names: Sequence[str]) -> None:
    """Execute the notebooks of these NAMES, or all, into HTML."""
    from w2s_analysis.reading.study import open_frames
    from w2s_core.engine import Store

    # What is wrong with the runs is an error of this command, and not a traceback of each notebook.
    open_frames(Store(store), study=study)
    os.environ |= {"W2S_STORE": str(store.absolute()), "W2S_STUDY": study or ""}
    known = {path.stem: path for path in notebooks()}
    if unknown := set(names) - known.keys():
        raise UserError(f"no notebook '{min(unknown)}'; there are: {', '.join(known)}")
    for name in names or known:
        click.echo(run_notebook(known[name], out))


def main() -> None:
    """Run the command; a user's mistake is one line and status 2."""
    try:
        execute.main(standalone_mode=False)
    except (UserError, click.ClickException) as error:
        click.echo(f"w2s: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
