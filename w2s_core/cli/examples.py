"""`w2s init`: the experiments, studies and notebooks that come with the project, in a folder of the user's."""

import os
import shutil
import tempfile
from pathlib import Path

import click

from w2s_core.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = ("experiments", "sweeps", "analysis")
KINDS = (".yaml", ".md", ".json", ".safetensors", ".ipynb")
"""Of these folders a checkout holds code too, which is no example."""


def examples() -> Path:
    """The folder that holds experiments/, sweeps/ and analysis/: inside the package of a wheel, else the checkout.

    Raises:
        UserError: neither has them.
    """
    for folder in (PACKAGE / "examples", PACKAGE.parent):
        if all((folder / name).is_dir() for name in FOLDERS):
            return folder
    raise UserError(
        f"this installation of w2s holds no examples: {PACKAGE / 'examples'} is missing; "
        "install the wheel anew, or take them from a checkout of the repository"
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write the examples into a new FOLDER.

    They are experiments, studies, notebooks and the lab's base models: all that README's first commands need.
    """
    source = examples()
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder}: exists and is not an empty folder; name a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and moved in whole: an interrupted `init` leaves nothing that looks like a lab.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        whole = Path(scratch, "lab")
        for file in sorted(_files(source)):
            target = whole / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        os.replace(whole, folder)
    click.echo(f"wrote {folder}: experiments/, sweeps/, analysis/ (notebooks). Next:")
    click.echo(f"  cd {folder}")
    click.echo("  w2s run experiments/mini/paper.yaml --name demo")
    click.echo("  w2s sweep sweeps/mini_threshold.yaml")


def _files(source: Path) -> list[Path]:
    files = (file for name in FOLDERS for file in (source / name).rglob("*") if file.suffix in KINDS)
    return [file for file in files if file.is_file() and not file.is_symlink()]
