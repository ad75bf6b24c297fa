"""What decides a training: every field stands in the key of the step that trains.

The fields that a user writes are `Hyperparameters`; an experiment's sections derive from it, so that a range is checked
in one place. `TrainSettings` adds what a step adds.
"""

import operator
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from w2s_core.errors import UserError
from w2s_core.strict_yaml import Misplaced, Section, complaint

Method = Literal["sft", "dpo", "orpo", "cpo", "simpo"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CpoLoss = Literal["sigmoid", "hinge", "ipo"]
DpoLoss = Literal[
    CpoLoss,
    "sigmoid_norm",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "discopop",
]
"""TRL's losses of pairs, without `aot`, which sorts the pairs of a micro-batch, and `sft`, a mean over its tokens: both
would change with the number of rows in memory.
"""
SMOOTHED = {"dpo": ("robust", "exo_pair"), "cpo": ("sigmoid",)}
"""The losses of each method that TRL smooths labels in."""
Optimizer = Literal["adamw_torch_fused", "adafactor", "adagrad", "rmsprop", "sgd"]
"""Names of transformers' `optim`: those that need no further library, and that go on after a kill with the same bytes.
"""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers that get an adapter: those of the paper's runs (its appendix A)."""


FOUR_BITS = (
    "goes with tuning: lora and without lora_dora: weights of 4 bits are not trained, nor are their norms"
)
"""Why a training has no weights of 4 bits."""


def _is_none(value: object) -> bool:
    return value is None


def check_loss(method: str, loss: str, label_smoothing: float) -> None:
    """Raise Misplaced for a loss that a method has not, or for smoothing that would change nothing or is missing."""
    losses = {"dpo": get_args(DpoLoss), "cpo": get_args(CpoLoss)}.get(method, ("sigmoid",))
    if loss not in losses:
        raise Misplaced(("loss",), f"should be one of {', '.join(losses)} with {method} (given: {loss})")
    smoothed = SMOOTHED.get(method, ())
    if label_smoothing and loss not in smoothed:
        with_which = f"only with loss: {' or '.join(smoothed)}" if smoothed else f"never with {method}"
        raise Misplaced(("label_smoothing",), f"changes the loss {with_which}; leave it out")
    if not label_smoothing and loss in ("robust", "exo_pair"):
        limit = "is sigmoid" if loss == "robust" else "is not finite"
        raise Misplaced(("label_smoothing",), f"should be above 0: at 0 the loss {loss} {limit}")


class Hyperparameters(Section):
    """How a model is trained, by default by an adapter (LoRA on the attention and MLP projections; paper, appendix A).

    Attributes:
        learning_rate: the peak of the schedule.
        batch_size: examples (SFT) or pairs (other methods) to an optimiser step, over all devices and
            micro-batches [rows].
        epochs: passes over the rows; this or `max_steps` has to be given, and not both [passes].
        max_steps: optimiser steps; this or `epochs` [steps].
        tuning: "lora", an adapter; or "full", all weights, which are float32 while they are trained, in bfloat16
            arithmetic too.
        lora_r: rank of the adapter.
        lora_alpha: scale of the adapter, as alpha / rank.
        lora_dropout: dropout of the adapter. TRL switches every dropout off for all methods but SFT, since it would
            blur their log ratios [share].
        lora_targets: the linear layers that get an adapter.
        lora_dora: the adapter also learns the norm of each output's weights (DoRA, 2402.09353).
        lora_rslora: the scale is alpha / sqrt(rank) (2312.03732).
        warmup_ratio: steps in which the rate rises from zero; not used with "constant" [share].
        warmup_steps: the same as a number, in place of the share [steps].
        scheduler: what follows the warm-up: "cosine", "linear" or "constant". Under the last one a step's rate does not
            depend on how many follow, so that a longer training starts from where a shorter one ended.
        optimizer: one of transformers' names; the learning rate and its schedule hold for each.
        weight_decay: AdamW and Adafactor take it off the weights, the others add it to the gradient.
        max_grad_norm: a step's gradient is cut down to this norm; 0 leaves it as it is.
        max_length: longest prompt with its completion. Longer rows are left out and counted, never cut [tokens].
    """

    learning_rate: Positive
    batch_size: int = Field(default=32, ge=1, le=10**6, description="examples a step")
    epochs: Positive | None = Field(
        default=None, le=10**6, description="passes over the set; or give max_steps"
    )
    max_steps: int | None = Field(default=None, ge=1, le=10**9, description="optimiser steps; or give epochs")
    # fields that came later are left out of keys and records where they are the default, as if they did not exist
    tuning: Literal["lora", "full"] = Field(
        default="lora", exclude_if="lora".__eq__, description="an adapter, or all weights"
    )
    lora_r: int = Field(default=32, ge=1, le=16_384)  # the width of the largest models
    lora_alpha: int = Field(default=64, ge=1, le=10**9)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    lora_targets: tuple[Annotated[str, Field(pattern=r"^\w+$", max_length=100)], ...] = Field(
        default=TARGETS,
        min_length=1,
        strict=False,  # a list, where it comes out of JSON
        exclude_if=TARGETS.__eq__,
        description="linear layers with an adapter",
    )
    lora_dora: bool = Field(default=False, exclude_if=operator.not_, description="DoRA: learn norms too")
    lora_rslora: bool = Field(default=False, exclude_if=operator.not_, description="scale = alpha / sqrt(r)")
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        exclude_if=_is_none,
        description="steps of warm-up, in place of warmup_ratio; constant alone has none",
    )
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    optimizer: Optimizer = Field(default="adamw_torch_fused", exclude_if="adamw_torch_fused".__eq__)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_grad_norm: float = Field(
        default=1.0, ge=0, exclude_if=(1.0).__eq__, description="longer gradients are cut; 0 = never"
    )
    max_length: int = Field(
        default=1024, ge=2, le=10**7, description="tokens; longer examples are dropped and counted"
    )

    @model_validator(mode="after")
    def _exactly_one_duration(self) -> "Hyperparameters":
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give exactly one of epochs and max_steps")
        return self

    @field_validator("lora_targets")
    @classmethod
    def _in_one_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """The order makes no difference, so the key has one."""
        if len(set(names)) < len(names):
            raise ValueError("names a layer twice")
        return TARGETS if set(names) == set(TARGETS) else tuple(sorted(names))

    @model_validator(mode="after")
    def _adapters_alone_have_a_shape(self) -> "Hyperparameters":
        if self.tuning == "full":
            for name, field in type(self).model_fields.items():
                if name.startswith("lora_") and getattr(self, name) != field.default:
                    raise Misplaced(
                        (name,), "is of adapters, and tuning: full trains none; leave one of both out"
                    )
        return self

    @property
    def is_open_ended(self) -> bool:
        """Whether the first steps are the same however many follow."""
        return self.scheduler == "constant"


class TrainSettings(Hyperparameters):
    """All that decides an adapter, given the model that it is trained on and the rows.

    Attributes:
        method: "sft" (paper, section 3.1), "dpo" or "orpo" (section 3.2), "cpo" (2401.08417), "simpo" (2405.14734).
        beta: DPO's beta (Rafailov et al. 2305.18290, eq. 7), ORPO's lambda (Hong et al. 2403.07691, eq. 6), or the
            factor of CPO's and SimPO's log-probabilities.
        loss: what DPO or CPO make of the difference between two responses, by TRL's name.
        label_smoothing: how many labels are taken to be the wrong way round; see `SMOOTHED`.
        nll_weight: of CPO's likelihood of the chosen response, a mean over its tokens.
        gamma: SimPO's margin.
        precision: of the frozen weights and of the arithmetic, "float32" or "bfloat16" (autocast). What is trained, its
            gradients and the optimiser are float32 in both.
        quantization: of the frozen weights: None, or "nf4" and the version of bitsandbytes (QLoRA, 2305.14314).
        seed: of the adapter's initial weights, of the order of the rows and of dropout.

    Raises:
        UserError: an unknown field, a value out of range, fields that do not go together, or not exactly one of
            `epochs` and `max_steps`.
    """

    method: Method
    beta: Positive = 0.1
    loss: DpoLoss = Field(default="sigmoid", exclude_if="sigmoid".__eq__)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, exclude_if=operator.not_)
    nll_weight: float = Field(default=1.0, ge=0, exclude_if=(1.0).__eq__)
    gamma: float = Field(default=1.0, ge=0, exclude_if=(1.0).__eq__)
    precision: Literal["float32", "bfloat16"] = "float32"
    quantization: str | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _fields_of_its_method(self) -> "TrainSettings":
        check_loss(self.method, self.loss, self.label_smoothing)
        for name, method in (("nll_weight", "cpo"), ("gamma", "simpo")):
            if self.method != method and getattr(self, name) != type(self).model_fields[name].default:
                raise Misplaced((name,), f"is of {method}, and {self.method} has no use for it")
        if self.quantization and (self.tuning == "full" or self.lora_dora):
            raise Misplaced(("quantization",), FOUR_BITS)
        return self

    # the last, so that it is around the others
    @model_validator(mode="wrap")
    @classmethod
    def _refused_in_one_line(
        cls, values: Any, validate: ModelWrapValidatorHandler["TrainSettings"]
    ) -> "TrainSettings":
        try:
            return validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            place = cause.place if isinstance(cause, Misplaced) else None
            raise UserError(f"training: {complaint(first, place)}") from None
