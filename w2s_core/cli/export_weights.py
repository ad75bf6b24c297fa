"""A trained model for use elsewhere: one LoRA adapter for PEFT and vLLM, or the base with all adapters merged."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.files import read_json_object
from w2s_core.load_errors import reason
from w2s_core.models import ADAPTER_FILES, load_model, load_tokenizer, open_base

# Not public there: every edit of `w2s_core.models` changes the keys of all steps that load a model.
from w2s_core.models.importing import _whole
from w2s_core.rows import read_json, write_json

CONFIG, WEIGHTS = ADAPTER_FILES
_BEYOND_LORA = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` when all is written, and is removed on an error.

    Raises:
        UserError: `out` is there, or cannot be written.
    """
    from safetensors import SafetensorError

    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: there is something of that name already: name a new folder")
    with _whole(out) as folder:
        try:
            yield folder
        except SafetensorError as error:  # a full disk, which this library does not raise as OSError
            raise UserError(f"{out}: cannot be written: {reason(error)}") from None


def write_adapter(adapters: Sequence[Path], base: str | None, revision: str | None, out: Path) -> int:
    """Write the adapters of a model, each trained on what those before it gave, as one, and return its rank.

    Of a single adapter the weights are copied. Of several, W + s1 B1 A1 + s2 B2 A2 is W + [s1 B1, s2 B2] [A1; A2]: the
    A matrices are stacked, and the B matrices, times their scales, stand side by side. Layers that only some adapters
    change are filled up with zeros, since vLLM reads one rank for all layers.

    Args:
        base, revision: where PEFT finds the base model: a folder, or a hub id with its commit; None where unknown.

    Raises:
        UserError: an adapter that cannot be read; or, among several, one that does more than add a product.
    """
    if len(adapters) == 1:
        shutil.copy(adapters[0] / WEIGHTS, out / WEIGHTS)
        config = read_json_object(adapters[0] / CONFIG)
    else:
        config = _write_joined(adapters, out)
    write_json(out / CONFIG, config | {"base_model_name_or_path": base, "revision": revision})
    return int(config["r"])


def _write_joined(adapters: Sequence[Path], out: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file

    parts, configs = zip(*map(_plain_adapter, adapters), strict=True)
    rank = sum(config["r"] for config in configs)
    scales = [_scale(config) for config in configs]
    layers = sorted({_layer(name) for part in parts for name in part})
    tensors = {}
    for layer in layers:
        a, b = f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
        present = [(part, scale) for part, scale in zip(parts, scales, strict=True) if a in part]
        stacked = torch.cat([part[a] for part, _ in present])
        beside = torch.cat([scale * part[b] for part, scale in present], dim=1)
        missing = rank - len(stacked)
        tensors[a] = torch.nn.functional.pad(stacked, (0, 0, 0, missing))
        tensors[b] = torch.nn.functional.pad(beside, (0, missing))
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    targets = sorted({layer.rpartition(".")[2] for layer in layers})
    return configs[0] | {"r": rank, "lora_alpha": rank, "use_rslora": False, "target_modules": targets}


def _plain_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors and the config of an adapter that adds products of two matrices to weights and does nothing else."""
    from safetensors.torch import load_file

    config = read_json_object(folder / CONFIG)
    try:
        tensors = load_file(folder / WEIGHTS)
    except Exception as error:  # noqa: BLE001 - from safetensors and the file system alike
        raise UserError(f"{folder}: the adapter cannot be read: {reason(error)}") from None
    beyond = [name for name in _BEYOND_LORA if config.get(name)]
    beyond += [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if beyond:
        raise UserError(f"{folder}: not only a low-rank product ({beyond[0]}): use --merge")
    return tensors, config


def _layer(name: str) -> str:
    return name.rpartition(".lora_")[0]


def _scale(config: Mapping[str, Any]) -> float:
    """What PEFT multiplies an adapter's product by (rank-stabilised LoRA: 2312.03732)."""
    rank = config["r"]
    return float(config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank))


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
