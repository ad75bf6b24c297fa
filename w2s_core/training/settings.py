"""What decides a training: every field stands in the key of the step that trains.

The fields that a user writes are `Hyperparameters`; an experiment's sections derive from it, so that a range is checked
in one place. `TrainSettings` adds what a step adds.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from w2s_core.errors import UserError
from w2s_core.strict_yaml import Section, complaint

Method = Literal["sft", "dpo", "orpo"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _is_none(value: object) -> bool:
    return value is None


class Hyperparameters(Section):
    """How an adapter is trained (LoRA on the attention and MLP projections; paper, appendix A).

    Attributes:
        learning_rate: the peak of the schedule.
        batch_size: examples (SFT) or pairs (DPO, ORPO) to an optimiser step, over all devices and micro-batches [rows].
        epochs: passes over the rows; this or `max_steps` has to be given, and not both [passes].
        max_steps: optimiser steps; this or `epochs` [steps].
        lora_r: rank of the adapter.
        lora_alpha: scale of the adapter, as alpha / rank.
        lora_dropout: dropout of the adapter. TRL switches every dropout off for DPO and ORPO, whose log ratios it would
            blur [share].
        warmup_ratio: steps in which the rate rises from zero; not used with "constant" [share].
        warmup_steps: the same as a number, in place of the share [steps].
        scheduler: what follows the warm-up: "cosine", "linear" or "constant". Under the last one a step's rate does not
            depend on how many follow, so that a longer training starts from where a shorter one ended.
        weight_decay: of AdamW.
        max_length: longest prompt with its completion. Longer rows are left out and counted, never cut [tokens].
    """

    learning_rate: Positive
    batch_size: int = Field(default=32, ge=1, le=10**6, description="examples a step")
    epochs: Positive | None = Field(
        default=None, le=10**6, description="passes over the set; or give max_steps"
    )
    max_steps: int | None = Field(default=None, ge=1, le=10**9, description="optimiser steps; or give epochs")
    lora_r: int = Field(default=32, ge=1, le=16_384)  # the width of the largest models
    lora_alpha: int = Field(default=64, ge=1, le=10**9)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    # left out where it is not given, so that keys are as before there was the field
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        exclude_if=_is_none,
        description="steps of warm-up, in place of warmup_ratio; constant alone has none",
    )
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_length: int = Field(
        default=1024, ge=2, le=10**7, description="tokens; longer examples are dropped and counted"
    )

    @model_validator(mode="after")
    def _exactly_one_duration(self) -> "Hyperparameters":
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give exactly one of epochs and max_steps")
        return self

    @property
    def is_open_ended(self) -> bool:
        """Whether the first steps are the same however many follow."""
        return self.scheduler == "constant"


class TrainSettings(Hyperparameters):
    """All that decides an adapter, given the model that it is trained on and the rows.

    Attributes:
        method: "sft" (paper, section 3.1), "dpo" or "orpo" (section 3.2).
        beta: DPO's beta (Rafailov et al. 2305.18290, eq. 7), or ORPO's lambda (Hong et al. 2403.07691, eq. 6).
        precision: of the frozen weights and of the arithmetic, "float32" or "bfloat16" (autocast). Adapters, their
            gradients and the optimiser are float32 in both.
        quantization: of the frozen weights: None, or "nf4" and the version of bitsandbytes (QLoRA, 2305.14314).
        seed: of the adapter's initial weights, of the order of the rows and of dropout.

    Raises:
        UserError: an unknown field, a value out of range, or not exactly one of `epochs` and `max_steps`.
    """

    method: Method
    beta: Positive = 0.1
    precision: Literal["float32", "bfloat16"] = "float32"
    quantization: str | None = None
    seed: int = 0

    @model_validator(mode="wrap")
    @classmethod
    def _refused_in_one_line(
        cls, values: Any, validate: ModelWrapValidatorHandler["TrainSettings"]
    ) -> "TrainSettings":
        try:
            return validate(values)
        except ValidationError as error:
            raise UserError(f"training: {complaint(error.errors()[0])}") from None
