"""Adapters that stand on each other, put together into one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.files import read_json_object
from w2s_core.load_errors import reason
from w2s_core.models import ADAPTER_FILES

CONFIG, WEIGHTS = ADAPTER_FILES
_BEYOND_LORA = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication")


def join_adapters(adapters: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the weights of adapters, each trained on what those before it gave, as those of one; returns its config.

    W + s1 B1 A1 + s2 B2 A2 is W + [s1 B1, s2 B2] [A1; A2]: the A matrices are stacked, and the B matrices, times their
    scales, stand side by side. Layers that only some adapters change are filled up with zeros, since vLLM reads one
    rank for all layers.

    Raises:
        UserError: an adapter that cannot be read, or that does more than add a product.
    """
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
