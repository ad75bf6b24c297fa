"""What decides a training: every field stands in the key of the step that trains."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from w2s_core.errors import UserError

Method = Literal["sft", "dpo", "orpo"]
Precision = Literal["float32", "bfloat16"]
SCHEDULERS = ("constant", "constant_with_warmup", "cosine", "linear")


@dataclass(frozen=True)
class TrainSettings:
    """How to train an adapter.

    Attributes:
        method: "sft" (paper, section 3.1), "dpo" or "orpo" (section 3.2).
        learning_rate: the peak of the schedule.
        batch_size: examples (SFT) or pairs (DPO, ORPO) to an optimiser step, over all devices and micro-batches.
        epochs: passes over the rows; this or `max_steps` has to be given, and not both.
        max_steps: optimiser steps.
        lora_r, lora_alpha, lora_dropout: rank, scale (alpha / r) and dropout of the adapter. TRL switches every
            dropout off for DPO and ORPO, whose log ratios it would blur.
        beta: DPO's beta (Rafailov et al. 2305.18290, eq. 7), or ORPO's lambda (Hong et al. 2403.07691, eq. 6).
        warmup_ratio: share of the steps in which the rate rises from zero.
        scheduler: what follows the warm-up: "cosine", "linear", "constant_with_warmup", or "constant" without one.
        weight_decay: of AdamW.
        max_length: tokens of a prompt with its completion. Longer rows are left out and counted, never cut.
        precision: of the frozen weights and of the arithmetic, "float32" or "bfloat16" (autocast). Adapters, their
            gradients and the optimiser are float32 in both.
        quantization: of the frozen weights: None, or "nf4" and the version of bitsandbytes (QLoRA, 2305.14314).
        seed: of the adapter's initial weights, of the order of the rows and of dropout.

    Raises:
        UserError: a value out of range, or not exactly one of `epochs` and `max_steps`.
    """

    method: Method
    learning_rate: float
    batch_size: int
    epochs: float | None = None
    max_steps: int | None = None
    lora_r: int = 32
    lora_alpha: int = 64
    lora_dropout: float = 0.0
    beta: float = 0.1
    warmup_ratio: float = 0.03
    scheduler: str = "cosine"
    weight_decay: float = 0.0
    max_length: int = 1024
    precision: Precision = "float32"
    quantization: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_names()
        if (self.epochs is None) == (self.max_steps is None):
            raise UserError("training: give either epochs or max_steps, and not both")
        for name in ("learning_rate", "batch_size", "epochs", "max_steps", "lora_r", "lora_alpha", "beta"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"training: {name} has to be above 0, got {value}")
        for name in ("warmup_ratio", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"training: {name} has to be at least 0 and under 1, got {getattr(self, name)}"
                )
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"training: weight_decay has to be at least 0, got {self.weight_decay}")
        if self.max_length < 2:
            raise UserError(f"training: max_length has to be at least 2 tokens, got {self.max_length}")

    def _check_names(self) -> None:
        for what, given, known in (
            ("training method", self.method, get_args(Method)),
            ("precision", self.precision, get_args(Precision)),
            ("scheduler", self.scheduler, SCHEDULERS),
        ):
            if given not in known:
                raise UserError(f"{what} '{given}': expected one of {', '.join(known)}")
