"""Dropout whose masks are functions of (seed, layer, step, row) alone.

torch's masks come from one stream of random numbers: which numbers a row gets hangs on the rows beside it and on the
padding. So another micro-batch or another number of processes would train another adapter under the same key.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class RowsInPlay:
    """The rows of the micro-batch that is being computed, and the step: every layer's masks are drawn for these."""

    step: int = 0
    rows: Sequence[int] = ()
    lengths: Sequence[int] = ()


class RowDropout(torch.nn.Module):
    """Dropout of a layer's inputs [rows, tokens, features]; padding, right of a row's tokens, is left as it is."""

    def __init__(self, p: float, seed: int, layer: str, current: RowsInPlay) -> None:
        super().__init__()
        self.p, self.seed, self.layer, self.current = p, seed, layer, current

    def forward(self, x: Tensor) -> Tensor:
        """As torch.nn.Dropout; a row's mask has the size of the row, so that no padding moves its numbers."""
        if not self.training:
            return x
        generator = torch.Generator(x.device)
        mask = torch.ones_like(x)
        for place, (row, length) in enumerate(zip(self.current.rows, self.current.lengths, strict=True)):
            generator.manual_seed(self._seed_of(row))
            mask[place, :length] = torch.empty_like(mask[place, :length]).bernoulli_(
                1 - self.p, generator=generator
            ) / (1 - self.p)
        return x * mask

    def _seed_of(self, row: int) -> int:
        text = f"{self.seed} {self.layer} {self.current.step} {row}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def drop_by_row(model: Any, seed: int) -> RowsInPlay:
    """Replace the dropout of a PEFT model's adapters by `RowDropout`. Returns what the trainer keeps current."""
    current = RowsInPlay()
    for name, module in model.named_modules():
        dropouts = getattr(module, "lora_dropout", {})
        for adapter, dropout in dict(dropouts).items():
            if isinstance(dropout, torch.nn.Dropout) and dropout.p > 0:
                dropouts[adapter] = RowDropout(dropout.p, seed, name, current)
    return current
