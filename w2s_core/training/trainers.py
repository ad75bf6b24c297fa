"""TRL's trainers, with the few differences that this project needs. The only file that imports TRL.

Differences, for all: rows come encoded and in a fixed order; checkpoints hold safetensors and JSON instead of
pickles; a loss or gradient that is not finite ends the training at once; no telemetry is sent. For ORPO and CPO
also those that their classes name.
"""

import copy
import gc
import hashlib
import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from w2s_core.engine import disk
from w2s_core.errors import UserError
from w2s_core.training import checkpoints
from w2s_core.training.dropout import RowsInPlay, drop_by_row
from w2s_core.training.examples import IGNORED, BatchPlan, Example
from w2s_core.training.quicken import quicken
from w2s_core.training.settings import TrainSettings

with warnings.catch_warnings():
    # TRL warns that its experimental part may change: constraints.txt pins it, and tests check its losses.
    warnings.simplefilter("ignore")
    from trl.experimental.cpo import CPOConfig, CPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

# accelerate collects garbage before each training: a third of a second over half a million objects of libraries,
# which stay for good. Models are freed by their reference counts, whenever they were loaded.
gc.collect()
gc.freeze()

TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}
"""How far DPO's first loss may be from that of two equal models, in parts of it where that is above 1: rounding of sums
over some hundred tokens, and no more.
"""

ALMOST_CERTAIN = -1e-6
"""ORPO's odds p / (1 - p) are taken at log p <= this. In float32, exp(x) is 1 from x = -6e-8 on: 1 - p is then 0."""


REFERENCE = "reference.json"
IDLE = "idle"
"""Marks a row, and the micro-batch made of it, that only keeps a process in step with the others."""
ROW = "row"
"""A row's number in the data set, and in a micro-batch those of its rows."""


class Diverged(UserError):
    """The loss or its gradient is not a finite number."""


class EncodedRows(Dataset):
    """Rows that are token ids already: whatever TRL maps over texts to prepare them leaves them as they are.

    Batches are taken from the lists themselves, which costs a tenth of reading them back out of Arrow.
    """

    rows: Sequence[dict[str, Any]]

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> "EncodedRows":
        """A data set of these rows."""
        dataset: EncodedRows = cls.from_list(rows)
        dataset.rows = [row | {ROW: number} for number, row in enumerate(rows)]
        return dataset

    def __getitems__(self, keys: list[int]) -> list[dict[str, Any]]:
        return [self.rows[key] for key in keys] or [idle(self.rows[0])]

    def map(self, *args: Any, **kwargs: Any) -> "EncodedRows":
        """Nothing to do."""
        return self

    def filter(self, *args: Any, **kwargs: Any) -> "EncodedRows":
        """Nothing to do."""
        return self


def idle(row: dict[str, Any]) -> dict[str, Any]:
    """A row to read where a process has none at a step: none of it is in the loss (`BatchPlan.micro_batches`)."""
    labels = {"labels": [IGNORED] * len(row["labels"])} if "labels" in row else {}
    return row | labels | {IDLE: True}


class CommonTrainer:
    """Mixed into each of TRL's trainers: a fixed order, checkpoints without pickle, finite losses, no telemetry."""

    plan: BatchPlan
    kept: Path | None = None
    """The folder for the state of step `kept_at`, from which longer trainings start."""
    kept_at: int = 0
    start_config: Any = None
    """Where all weights are trained, the model's config as it came."""
    rows_in_play: RowsInPlay | None = None
    """What adapters' dropout draws its masks for; None without dropout."""

    def get_train_dataloader(self: Any) -> "DataLoader[Any]":
        """The micro-batches of this process, in the plan's order."""
        at_once, rank = self.args.per_device_train_batch_size, self.accelerator.process_index
        dealt = self.plan.micro_batches(at_once, rank, self.accelerator.num_processes)
        return DataLoader(self.train_dataset, batch_sampler=dealt, collate_fn=self._collate)

    def _collate(self: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
        extra: dict[str, Any] = {IDLE: True} if IDLE in rows[0] else {}
        if self.rows_in_play:
            extra[ROW] = [row[ROW] for row in rows]
        return {**self.data_collator(rows), **extra}

    def _send_telemetry(self) -> None:
        """TRL would report device, model family and more to its makers at every start."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Nothing uses the estimate, which costs a walk through all modules at every step."""
        return 0

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The method's loss on a micro-batch, checked."""
        inputs.pop(IDLE, None)
        loss = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self._check_loss(loss.detach().item())
        return loss

    def _check_loss(self: Any, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(self._divergence("loss", loss))

    def _get_grad_norm(self: Any, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[misc]
        if not math.isfinite(float(norm)):
            raise Diverged(self._divergence("gradient", float(norm)))
        return norm

    def _divergence(self: Any, quantity: str, value: float) -> str:
        """One line: where it happened, and what most likely made it."""
        step, rate = self.state.global_step + 1, self.args.learning_rate
        broken = [
            name
            for name, weight in self.model.named_parameters()
            if not (weight.requires_grad and step > 1) and not bool(torch.isfinite(weight).all())
        ]
        if broken:
            cause = f"the model came with weights that are not finite ({broken[0]})"
        elif step == 1:
            cause = "it is the first step, so not the learning rate: look at the model's precision and at the rows"
        else:
            cause = "the learning rate is too high; try a third of it, or a longer warm-up"
        return (
            f"{self._name} training: the {quantity} is {value} at step {step} of {self.state.max_steps}"
            f" (learning rate {rate:g}, now {self._get_learning_rate():g}); likely cause: {cause}"
        )

    # Checkpoints: what TRL and transformers would write with torch.save, in formats that cannot run code when read.

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        keep = self.kept is not None and self.state.global_step == self.kept_at
        checkpoints.save(self, self.kept if keep else Path(self.args.output_dir))

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoints.load_weights(self, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.load_optimizer(self, Path(checkpoint))

    def _load_rng_state(self: Any, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.load_random_state(Path(checkpoint), self.accelerator.process_index)


class SFT(CommonTrainer, SFTTrainer):
    """Mean negative log-likelihood over the completion tokens of a batch (paper, section 3.1)."""

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss on a micro-batch, with the masks of its rows at this step."""
        if self.rows_in_play:
            self.rows_in_play.step, self.rows_in_play.rows = self.state.global_step, inputs.pop(ROW)
            self.rows_in_play.lengths = inputs["attention_mask"].sum(1).tolist()
        return super().compute_loss(model, inputs, *args, **kwargs)


class MeanOverPairs(CommonTrainer):
    """For losses that are a mean over pairs: each pair counts the same, however a batch is cut and dealt out.

    Transformers takes the mean of the micro-batches' means, over accumulation and over processes; these are unequal
    where one is shorter than the others.
    """

    def get_batch_samples(self: Any, *args: Any) -> Any:
        """The micro-batches of the next step; remembers how many sequences all processes' hold together."""
        batches, count = super().get_batch_samples(*args)  # type: ignore[misc]
        local = torch.tensor(sum(map(_sequences, batches)), device=self.accelerator.device)
        self.sequences = int(self.accelerator.gather(local).sum())
        return batches, count

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The micro-batch's share of the step's loss, times the number of parts that the mean is taken over."""
        sequences = _sequences(inputs)
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        parts = self.current_gradient_accumulation_steps * self.accelerator.num_processes
        return loss if parts == 1 else loss * (parts * sequences / self.sequences)


def gather_unequal(accelerator: Any) -> Callable[[Any], Any]:
    """An accelerator's `gather` for tensors whose lengths differ: TRL's log gathers a number for each pair, and of a
    step's pairs processes may hold unequal numbers.
    """
    plain = accelerator.gather

    def gather(tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor) or tensor.ndim == 0:
            return plain(tensor)
        lengths = plain(torch.tensor([len(tensor)], device=tensor.device)).tolist()
        parts = plain(accelerator.pad_across_processes(tensor, dim=0)).split(max(lengths))
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    return gather


def _sequences(inputs: dict[str, Any]) -> int:
    return 0 if IDLE in inputs else len(inputs["input_ids"])


def _kept_reference(folder: Path) -> list[tuple[float, float]] | None:
    """What a training on the same pairs, from the same model, has kept; None where none has."""
    for path in sorted(folder.parent.glob(f"*/{REFERENCE}")):
        if (data := disk.read_kept(path)) is not None:
            return [(chosen, rejected) for chosen, rejected in json.loads(data)]
    return None


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class DPO(MeanOverPairs, DPOTrainer):
    """DPO (Rafailov et al. 2305.18290, eq. 7), or another loss of the same difference to a reference.

    The reference is the model with the new adapter switched off, or a copy where all weights are trained.
    """

    def precompute_reference(
        self: Any, progress: Callable[[int, int], None], keep: Callable[[str], Path | None]
    ) -> None:
        """Compute the reference's log-probabilities once a pair, not once a step: with n epochs, n - 1 passes less; and
        once for all trainings that differ in beta, rate or schedule.

        Only in one process and in float32. Elsewhere TRL runs the reference at each step: sharded models exist no
        sooner than the training does, and in bfloat16 a batch of another shape rounds otherwise, so that policy and
        reference would differ before the first step. `progress` is called with the pairs done, and with all. `keep`
        gives the folder, by the digest of the pairs, in which they stay for other trainings; those of others lie beside
        it. A file of another's that is damaged counts as absent.
        """
        if self.accelerator.num_processes > 1 or self.args.bf16:
            return
        self.ref_model = None  # the model itself is the reference until its first step
        used = sorted(set(self.plan.order), key=lambda i: -len(self.train_dataset.rows[i]["prompt_ids"]))
        folder = keep(_digest([self.train_dataset.rows[i] for i in used]))
        kept = _kept_reference(folder) if folder else None
        if kept is None:
            kept = self._reference(used, progress)
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                disk.write_kept(folder / REFERENCE, json.dumps(kept).encode())
        for i, (chosen, rejected) in zip(used, kept, strict=True):
            self.train_dataset.rows[i] |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        self.precompute_ref_logps = True

    def _reference(
        self: Any, used: list[int], progress: Callable[[int, int], None]
    ) -> list[tuple[float, float]]:
        """The reference's log-probabilities of the chosen and the rejected response of these rows."""
        size = self.args.per_device_train_batch_size
        both: list[tuple[float, float]] = []
        for start in range(0, len(used), size):
            rows = [self.train_dataset.rows[i] for i in used[start : start + size]]
            batch = self._prepare_inputs(self.data_collator(rows))
            chosen, rejected = self.compute_ref_log_probs(self.model, batch)
            both += zip(chosen.tolist(), rejected.tolist(), strict=True)
            progress(len(both), len(used))
        return both

    def _check_loss(self: Any, loss: float) -> None:
        """At the first step policy and reference agree, and the loss is the same on any data: ln 2 for DPO's own."""
        super()._check_loss(loss)
        if self.state.global_step:
            return
        expected = loss_of_equals(self.loss_types[0], self.beta, self.label_smoothing)
        tolerance = TOLERANCE["bfloat16" if self.args.bf16 else "float32"]
        if abs(loss - expected) > tolerance * max(1.0, expected):
            raise UserError(
                f"DPO's first loss is {loss:.4f} instead of {expected:.4f}: the reference is not the model that"
                " training starts from (an adapter that is not merged, or dropout that is on)"
            )


def loss_of_equals(loss: str, beta: float, smoothing: float) -> float:
    """A loss of DPO's kind where policy and reference are one model: all log ratios are 0."""
    ln2 = math.log(2)
    values = {
        "hinge": 1.0,
        "ipo": (1 / (2 * beta)) ** 2,
        "exo_pair": -ln2 - (math.log(1 - smoothing) + math.log(smoothing or 1)) / 2,
        "nca_pair": 2 * ln2,
        "bco_pair": 2 * ln2,
        "sppo_hard": 2 * (1 / (2 * beta)) ** 2,
        "apo_zero": 1.0,
        "apo_down": 1.0,
        "discopop": (ln2 + 1) / 2,
    }
    return values.get(loss, ln2)


class ORPO(MeanOverPairs, ORPOTrainer):
    """ORPO (Hong et al. 2403.07691, eq. 6 and 7): NLL of the chosen response - lambda log sigmoid(log odds ratio).

    Two differences to TRL's class. The NLL is the paper's own (its eq. 2): the mean over the tokens of the *response*,
    per pair, where TRL takes prompt and response of the whole batch together. So prompts are in the loss of none of our
    three methods, and how a batch is cut into micro-batches makes no difference. And the odds stay finite when a model
    is certain of a response, where TRL's log(1 - p) and its gradient turn into NaN (trl#3237).
    """

    def concatenated_forward(self: Any, model: Any, batch: Any) -> tuple[Any, ...]:
        """Mean log-probabilities (pairs,) of chosen and rejected, their logits, and the NLL of the chosen."""
        labels, logits = _read_pairs(model, batch)
        mean_logps = self.get_batch_logps(logits, labels, average_log_prob=True)
        chosen, rejected = mean_logps.chunk(2)
        return chosen, rejected, *logits.detach().chunk(2), -chosen.mean()

    def odds_ratio_loss(self: Any, policy_chosen_logps: Any, policy_rejected_logps: Any) -> tuple[Any, ...]:
        """See TRL; both log-probabilities are (pairs,) and are kept off zero."""
        ratio: tuple[Any, ...] = super().odds_ratio_loss(
            policy_chosen_logps.clamp(max=ALMOST_CERTAIN), policy_rejected_logps.clamp(max=ALMOST_CERTAIN)
        )
        return ratio


def _read_pairs(model: Any, batch: Any) -> tuple[Any, Any]:
    """The labels of chosen and rejected responses [2 pairs, tokens], and the model's logits."""
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
    return labels, model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits


class CPO(MeanOverPairs, CPOTrainer):
    """CPO (Xu et al. 2401.08417, eq. 3 to 5), and by another loss SimPO (Meng et al. 2405.14734, eq. 6).

    The likelihood of the chosen response that CPO adds is the mean over the response's tokens, per pair, as in ORPO:
    TRL takes it over prompts and responses of a whole batch together.
    """

    def concatenated_forward(self: Any, model: Any, batch: Any) -> tuple[Any, ...]:
        """Log-probabilities (pairs,) of chosen and rejected as the loss takes them (sums, or means for IPO and SimPO),
        their logits, and the NLL of the chosen.
        """
        labels, logits = _read_pairs(model, batch)
        sums = self.get_batch_logps(logits, labels)
        means = sums / (labels[:, 1:] != IGNORED).sum(1)
        chosen, rejected = (means if self.loss_type in ("ipo", "simpo") else sums).chunk(2)
        return chosen, rejected, *logits.detach().chunk(2), -means.chunk(2)[0].mean()


class SimPO(CPO):
    """CPO's class with SimPO's loss; errors name the method."""

    _name = "SimPO"


KINDS: dict[str, tuple[Any, Any]] = {
    "sft": (SFT, SFTConfig),
    "dpo": (DPO, DPOConfig),
    "orpo": (ORPO, ORPOConfig),
    "cpo": (CPO, CPOConfig),
    "simpo": (SimPO, CPOConfig),
}


def _of_method(settings: TrainSettings) -> dict[str, Any]:
    """The arguments that a method has of its own. Rows that are too long are left out already; none is cut."""
    if settings.method == "sft":
        return {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    if settings.method == "orpo":
        return {"max_length": settings.max_length, "beta": settings.beta}
    loss: dict[str, Any] = {"loss_type": settings.loss, "label_smoothing": settings.label_smoothing}
    if settings.method == "dpo":
        return {"max_length": None, "beta": settings.beta} | loss
    if settings.method == "simpo":
        loss = {"loss_type": "simpo", "simpo_gamma": settings.gamma}
    weight = settings.nll_weight if settings.method == "cpo" else 0.0
    return {"max_length": settings.max_length, "beta": settings.beta, "cpo_alpha": weight} | loss


def _lora(settings: TrainSettings) -> LoraConfig:
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
        use_dora=settings.lora_dora,
        use_rslora=settings.lora_rslora,
        task_type="CAUSAL_LM",
    )


def build(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    order: BatchPlan,
    settings: TrainSettings,
    arguments: dict[str, Any],
    callbacks: list[Any],
) -> Any:
    """The trainer of a method, ready to train; `arguments` are TRL's, see `w2s_core.training.core`."""
    trainer_class, config_class = KINDS[settings.method]
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    full = settings.tuning == "full"
    start_config = copy.deepcopy(model.config) if full else None
    trainer = trainer_class(
        model=model,
        args=config_class(**arguments, **_of_method(settings)),
        train_dataset=EncodedRows.of([example.columns() for example in examples]),
        data_collator=None if settings.method == "sft" else DataCollatorForPreference(pad_token_id=pad),
        processing_class=tokenizer,
        peft_config=None if full else _lora(settings),
        callbacks=callbacks,
        **({"ref_model": copy.deepcopy(model)} if full and settings.method == "dpo" else {}),
    )
    trainer.plan, trainer.start_config = order, start_config
    if settings.method == "sft" and settings.lora_dropout:  # TRL switches dropout off for the other two
        trainer.rows_in_play = drop_by_row(trainer.model, settings.seed)
    if trainer.accelerator.num_processes > 1:
        trainer.accelerator.gather = gather_unequal(trainer.accelerator)
    if trainer.args.use_cpu and not trainer.is_fsdp_enabled:
        quicken(trainer.model)
    return trainer
