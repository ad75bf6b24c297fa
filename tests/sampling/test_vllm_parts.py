"""What needs no vLLM of its engine: adapters put together, and the one line where it is not installed."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.errors import UserError
from w2s_core.sampling.vllm_engine import _one_adapter


def write_adapter(folder: Path, rank: int, alpha: int, layers: int = 2, **config: object) -> Path:
    folder.mkdir()
    torch.manual_seed(rank)
    names = [f"base_model.model.layers.{i}.q_proj" for i in range(layers)]
    tensors = {f"{name}.lora_A.weight": torch.randn(rank, 6) for name in names}
    tensors |= {f"{name}.lora_B.weight": torch.randn(5, rank) for name in names}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": alpha} | config))
    return folder


def change(folder: Path, name: str) -> torch.Tensor:
    """What an adapter adds to a weight, by its definition."""
    config, parts = (
        json.loads((folder / "adapter_config.json").read_text()),
        load_file(folder / "adapter_model.safetensors"),
    )
    if f"{name}.lora_A.weight" not in parts:
        return torch.zeros(5, 6)
    divisor = config["r"] ** 0.5 if config.get("use_rslora") else config["r"]
    return config["lora_alpha"] / divisor * parts[f"{name}.lora_B.weight"] @ parts[f"{name}.lora_A.weight"]


def test_adapters_put_together_add_what_each_adds(tmp_path: Path) -> None:
    """One of them by rsLoRA, and one on another choice of layers."""
    folders = [
        write_adapter(tmp_path / "0", 2, 8, layers=1),
        write_adapter(tmp_path / "1", 3, 5, use_rslora=True),
        write_adapter(tmp_path / "2", 4, 1),
    ]
    joined, rank = _one_adapter(folders, tmp_path / "joined")
    assert joined is not None
    assert rank == 16, "the least that vLLM has for 9"
    for i in range(2):
        name = f"base_model.model.layers.{i}.q_proj"
        torch.testing.assert_close(change(joined, name), sum(change(one, name) for one in folders))


def test_one_adapter_is_taken_as_it_is_and_too_large_ones_are_refused(tmp_path: Path) -> None:
    one = write_adapter(tmp_path / "one", 4, 8)
    assert _one_adapter([one], tmp_path / "unused") == (one, 8)
    assert _one_adapter([], tmp_path / "unused") == (None, 0)
    large = [write_adapter(tmp_path / f"large{i}", 300 + i, 1) for i in range(2)]
    with pytest.raises(UserError, match="up to rank 512, and these have 601 together"):
        _one_adapter(large, tmp_path / "unused")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, engine="vllm")
    done = CliRunner().invoke(w2s, ["--store", str(tmp_path / "store"), "plan", str(path)])
    assert isinstance(done.exception, UserError)
    assert "pip install 'w2s[vllm]', or engine: transformers" in str(done.exception)
