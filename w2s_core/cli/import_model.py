"""`w2s import-model`: a GGUF or a Hugging Face folder as a base model."""

from pathlib import Path
from typing import Any

import click


@click.command("import-model")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
def import_model(source: Path, out: Path, precision: Any) -> None:
    """Write a GGUF file or a model folder as a base model.

    SOURCE is the file or the Hugging Face folder, OUT the new folder. Weights become safetensors; the tokenizer is
    checked against what the file says of it.
    """
    from w2s_core.models.importing import import_model as write

    ref = write(source, out, precision)
    click.echo(f"{out}: {ref}")
