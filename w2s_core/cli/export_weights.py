"""A trained model for use elsewhere: one LoRA adapter for PEFT and vLLM, or the base with all adapters merged."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from w2s_core.errors import UserError
from w2s_core.files import read_json_object
from w2s_core.load_errors import reason
from w2s_core.models import ADAPTER_FILES, load_model, load_tokenizer, open_base
from w2s_core.models.adapters import join_adapters
from w2s_core.rows import read_json, write_json

CONFIG, WEIGHTS = ADAPTER_FILES


@contextmanager
def weights_written(out: Path) -> Iterator[None]:
    """A full disk, which safetensors does not raise as OSError, as a UserError about `out`."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise UserError(f"{out}: cannot be written: {reason(error)}") from None


def write_adapter(adapters: Sequence[Path], base: str | None, revision: str | None, out: Path) -> int:
    """Write the adapters of a model, each trained on what those before it gave, as one, and return its rank.

    Of a single adapter the weights are copied; several are joined, see `join_adapters`.

    Args:
        base, revision: where PEFT finds the base model: a folder, or a hub id with its commit; None where unknown.

    Raises:
        UserError: an adapter that cannot be read; or, among several, one that does more than add a product.
    """
    if len(adapters) == 1:
        shutil.copy(adapters[0] / WEIGHTS, out / WEIGHTS)
        config = read_json_object(adapters[0] / CONFIG)
    else:
        config = join_adapters(adapters, out)
    write_json(out / CONFIG, config | {"base_model_name_or_path": base, "revision": revision})
    return int(config["r"])


def write_merged(model_dir: Path, bases: Mapping[str, str | Path], precision: str, out: Path) -> None:
    """Write a model's base with its adapters merged as the harness merges them, in the type of the base's weights.

    Raises:
        UserError: as `load_model`.
    """
    config, _ = open_base(read_json(model_dir / "model.json")["base"], bases)
    model, _ = load_model(model_dir, bases, precision=precision)
    try:
        model.to(config.dtype).save_pretrained(out)
        load_tokenizer(model_dir, bases).save_pretrained(out)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{out}: the model cannot be written: {reason(error)}") from None
