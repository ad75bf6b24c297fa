"""`w2s init`: the experiments, studies and notebooks that come with the project, in a folder of the user's."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import click

from w2s_core.errors import UserError
from w2s_core.files import new_folder

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
    """Write the examples into a FOLDER.

    They are experiments, studies, notebooks and the lab's base models: all that README's first commands need. Nothing
    in FOLDER is overwritten.
    """
    source = examples()
    # All three take their names at the end: an interrupted `init` leaves nothing that looks like a lab.
    with ExitStack() as written:
        for name in FOLDERS:
            whole = written.enter_context(new_folder(folder / name))
            for file in sorted(_files(source / name)):
                target = whole / file.relative_to(source / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    click.echo(f"wrote {folder}: experiments/, sweeps/, analysis/ (notebooks). Next:")
    click.echo(f"  cd {folder}")
    click.echo("  w2s run experiments/mini/paper.yaml --name demo")
    click.echo("  w2s sweep sweeps/mini_threshold.yaml")


def _files(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix in KINDS)
    return [file for file in files if file.is_file() and not file.is_symlink()]
