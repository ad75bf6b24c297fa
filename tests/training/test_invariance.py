"""How a batch is cut into micro-batches changes an adapter by rounding only, whatever the settings."""

import copy
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor

from tests.training.test_training import Start, run, settings
from tests.training.tiny import rows_for
from w2s_core.training.dropout import RowDropout, RowsInPlay, drop_by_row
from w2s_core.training.settings import SMOOTHED, CpoLoss, DpoLoss, Method, Optimizer, TrainSettings

CHANGES: dict[str, dict[str, Any]] = {
    "method": {"method": "orpo"},
    "learning_rate": {"learning_rate": 1e-3},
    "batch_size": {"batch_size": 6},
    "epochs": {"epochs": 2.5},
    "max_steps": {"epochs": None, "max_steps": 4},
    "lora_r": {"lora_r": 2},
    "lora_alpha": {"lora_alpha": 32},
    "lora_dropout": {"lora_dropout": 0.3},
    "lora_targets": {"lora_targets": ["v_proj", "down_proj"]},
    "lora_dora": {"lora_dora": True, "lora_dropout": 0.3},
    "lora_rslora": {"lora_rslora": True},
    "tuning": {"tuning": "full"},
    "beta": {"method": "dpo", "beta": 0.5},
    "loss": {"method": "dpo", "loss": "ipo"},
    "label_smoothing": {"method": "dpo", "loss": "robust", "label_smoothing": 0.1},
    "nll_weight": {"method": "cpo", "nll_weight": 0.5},
    "gamma": {"method": "simpo", "gamma": 0.5},
    "warmup_ratio": {"warmup_ratio": 0.5},
    "warmup_steps": {"warmup_steps": 3},
    "scheduler": {"scheduler": "linear"},
    "optimizer": {"optimizer": "adafactor"},
    "weight_decay": {"weight_decay": 0.1},
    "max_grad_norm": {"max_grad_norm": 0.1},
    "max_length": {"max_length": 30},
    "precision": {"precision": "bfloat16"},
    "seed": {"seed": 7},
}
"""Each field of a training, set to another value than the default."""
HELD_ELSEWHERE = {"quantization"}  # needs bitsandbytes: test_four_bits.py
ROUNDING = {"precision": 0.2}
"""Relative difference of the adapters. In bfloat16, of 8 bits, AdamW's first steps turn with single signs."""


def test_no_setting_is_left_out() -> None:
    assert {*CHANGES} | HELD_ELSEWHERE == {*TrainSettings.model_fields}


@pytest.mark.parametrize("field", CHANGES)
def test_micro_batches_change_an_adapter_by_rounding_only(start: Start, tmp_path: Path, field: str) -> None:
    job = settings(**CHANGES[field])
    for name, micro_batch in (("whole", None), ("cut", 2)):
        run(start, tmp_path / name, rows_for(job.method, 20), job, micro_batch=micro_batch)
    whole, cut = (learned(tmp_path / name, start) for name in ("whole", "cut"))
    assert float((whole - cut).norm() / whole.norm()) < ROUNDING.get(field, 1e-3)


LOSSES = [{"method": "dpo", "loss": loss} for loss in get_args(DpoLoss) if loss not in SMOOTHED["dpo"]]
LOSSES += [{"method": "dpo", "loss": "exo_pair", "label_smoothing": 0.1}]
LOSSES += [{"method": "cpo", "loss": loss} for loss in get_args(CpoLoss)]
FULL = [{"tuning": "full", "method": method} for method in get_args(Method)]
OPTIMIZERS = [{"optimizer": name} for name in get_args(Optimizer)]
OPTIMIZERS += [{"optimizer": name, "tuning": "full"} for name in get_args(Optimizer)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [*LOSSES, *FULL, *OPTIMIZERS], ids=lambda c: "-".join(map(str, c.values()))
)
def test_nor_do_they_for_any_loss_or_optimizer(start: Start, tmp_path: Path, change: dict[str, Any]) -> None:
    job = settings(**{"learning_rate": 1e-3} | change)
    for name, micro_batch in (("whole", None), ("cut", 2)):
        run(start, tmp_path / name, rows_for(job.method, 20), job, micro_batch=micro_batch)
    whole, cut = (learned(tmp_path / name, start) for name in ("whole", "cut"))
    assert float((whole - cut).norm() / whole.norm()) < 1e-3


def learned(folder: Path, start: Start) -> Tensor:
    """What was learned: the B matrices, which start from zero, or how far all weights are from the base's."""
    if (folder / "out/weights").exists():
        weights = load_file(folder / "out/weights/model.safetensors")
        before = load_file(next(iter(start[1].values())) / "model.safetensors")
        return torch.cat([(weights[name] - before[name]).flatten() for name in sorted(weights)])
    weights = load_file(folder / "out/adapters/0/adapter_model.safetensors")
    return torch.cat([weights[name].flatten() for name in sorted(weights) if "lora_B" in name])


def in_play(step: int, rows: list[int], lengths: list[int], seed: int = 0, layer: str = "q") -> Tensor:
    """The mask that rows of ones come out as."""
    current = RowsInPlay(step, rows, lengths)
    return RowDropout(0.25, seed, layer, current)(torch.ones(len(rows), max(lengths), 64))


def test_a_mask_hangs_on_its_row_alone() -> None:
    together = in_play(3, [5, 9], [10, 7])
    assert torch.equal(in_play(3, [9, 2, 5], [7, 12, 10])[0, :7], together[1, :7])
    assert torch.equal(in_play(3, [5], [10])[0], together[0])
    assert torch.equal(together[1, 7:], torch.ones(3, 64)), "padding stays"


def test_another_seed_layer_step_or_row_has_another_mask() -> None:
    masks = [in_play(3, [5], [10]), in_play(4, [5], [10]), in_play(3, [6], [10])]
    masks += [in_play(3, [5], [10], seed=1), in_play(3, [5], [10], layer="k")]
    assert len({mask.numpy().tobytes() for mask in masks}) == 5


def test_a_mask_drops_its_share_and_keeps_the_mean() -> None:
    mask = in_play(0, [0], [2000])
    assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.75])


def test_dropout_rests_outside_training(start: Start) -> None:
    from w2s_core.models import load_model

    model = get_peft_model(
        copy.deepcopy(load_model(*start)[0]), LoraConfig(lora_dropout=0.5, target_modules=["q_proj"])
    )
    drop_by_row(model, 0)
    kinds = {type(module) for name, module in model.named_modules() if name.endswith("lora_dropout.default")}
    assert kinds == {RowDropout}
    model.eval()
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids).logits, model(ids).logits)
