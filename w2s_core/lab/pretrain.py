"""Make the lab's base models: `python -m w2s_core.lab.pretrain experiments/mini/bases.yaml [--only strong]`.

A base that stands already, made by the same recipe, is left alone. A killed or interrupted run goes on from its last
checkpoint when the same command is given again.
"""

import argparse
import hashlib
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.lab.bases import Recipe, load_recipe
from w2s_core.rows import read_json, write_json

RECORD = "pretraining.json"
READERS_OF_A_GPU = 4


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status: 0, 2 for a user's error, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m w2s_core.lab.pretrain", description=__doc__.split("\n")[0]
    )
    parser.add_argument("recipe", type=Path, help="YAML file, for example experiments/mini/bases.yaml")
    parser.add_argument(
        "--only", action="append", metavar="BASE", help="make this base alone; may be repeated"
    )
    parser.add_argument("--out", type=Path, help="folder for the bases (default: bases/ beside the recipe)")
    parser.add_argument("--work", type=Path, default=Path("out/pretrain"), help="folder for checkpoints")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )
    parser.add_argument(
        "--readers",
        type=int,
        metavar="N",
        help=f"processes that make texts ahead (default: {READERS_OF_A_GPU} with a GPU, none without)",
    )
    options = parser.parse_args(arguments)
    try:
        if options.readers is not None and options.readers < 0:
            raise UserError(f"--readers {options.readers}: give a number of processes, 0 or more")
        recipe = load_recipe(options.recipe)
        out = options.out or options.recipe.parent / "bases"
        for name in _chosen(recipe, options.only):
            make_base(recipe, name, out, options.work, options.device, options.readers)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last checkpoint\n")
        return 130
    return 0


def _chosen(recipe: Recipe, only: list[str] | None) -> list[str]:
    for name in only or []:
        if name not in recipe.bases:
            raise UserError(f"no base '{name}' in the recipe; known: {', '.join(recipe.bases)}")
    return only or list(recipe.bases)


def make_base(
    recipe: Recipe, name: str, out: Path, work: Path, device: str = "cpu", readers: int | None = None
) -> Path:
    """Pretrain the base called `name` into the folder out/name, unless it stands there already.

    The folder holds config.json, model.safetensors (float16), the tokenizer and pretraining.json. It is written
    beside its place and renamed at the end. A CPU makes the same weights every time; a GPU does so but for the last
    digits, and its name is in the record.
    """
    final, digest = out / name, recipe.digest(name)
    if (final / RECORD).is_file() and read_json(final / RECORD).get("recipe_sha256") == digest:
        sys.stderr.write(f"{name}: up to date\n")
        return final
    from w2s_core.lab.tokenizer import build_tokenizer
    from w2s_core.lab.training_loop import choose_device, pretrain

    place = choose_device(device)
    if readers is None:
        readers = READERS_OF_A_GPU if place.type == "cuda" else 0
    tokenizer = build_tokenizer(recipe.context, recipe.task)
    scratch = work / f"{name}-{digest[:12]}"
    with _Bar(name) as bar:
        model, record = pretrain(recipe, name, tokenizer, scratch, bar.show, place, readers)
    fresh = out / f".{name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    _save(model, tokenizer, fresh)
    write_json(fresh / RECORD, _record(recipe, name, model, record, fresh))
    shutil.rmtree(final, ignore_errors=True)
    fresh.rename(final)
    shutil.rmtree(scratch, ignore_errors=True)
    return final


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Weights in float16, half the size; the configuration says float32, in which the lab computes."""
    import torch

    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = read_json(folder / "config.json")
    config["dtype"] = "float32"
    write_json(folder / "config.json", config)


def _record(recipe: Recipe, name: str, model: Any, training: dict[str, Any], folder: Path) -> dict[str, Any]:
    weights = (folder / "model.safetensors").read_bytes()
    return {
        "recipe": recipe.spec(name),
        "recipe_sha256": recipe.digest(name),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": training,
        "versions": {library: version(library) for library in ("torch", "transformers", "tokenizers")},
        "machine": {"python": platform.python_version(), "architecture": platform.machine()},
    }


class _Bar:
    """A progress bar on stderr: steps, loss, time left. Plain lines where stderr is no terminal."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.name = name
        self.live = console.is_terminal
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.live,
        )
        self.task = self.progress.add_task(name, total=None, loss=float("nan"))

    def __enter__(self) -> "_Bar":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def show(self, done: int, total: int, loss: float) -> None:
        """Report `done` of `total` steps."""
        self.progress.update(self.task, completed=done, total=total, loss=loss)
        if not self.live and (done % 100 == 0 or done == total):
            sys.stderr.write(f"{self.name}: step {done}/{total}, loss {loss:.4f}\n")


if __name__ == "__main__":
    sys.exit(main())
