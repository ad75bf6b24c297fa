"""What happens beside the training steps: progress, the log that is kept, and when a checkpoint is due."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from w2s_core.training.examples import BatchPlan, Example

LOG_EVERY = 10
"""Steps between two entries of the log. Checkpoints fall on the same steps, so that no entry spans a restart."""

LOGGED = (
    "loss",
    "learning_rate",
    "grad_norm",
    "entropy",
    "mean_token_accuracy",
    "nll_loss",
    "log_odds_ratio",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)

Progress = Callable[..., None]


class Record:
    """The log of a training, over restarts: an entry per `LOG_EVERY` steps, means over those steps."""

    def __init__(self) -> None:
        self.log: list[dict[str, float]] = []
        self.origin: dict[str, Any] | None = None
        """Whose kept state it started from (`forks.fork`)."""
        self.seconds_before = 0.0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training, those of an earlier try included."""
        return self.seconds_before + time.monotonic() - self.started

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep of it."""
        return {"log": self.log, "seconds": self.seconds, "origin": self.origin}

    def restore(self, state: dict[str, Any], origin: dict[str, Any] | None) -> None:
        """Go on after a checkpoint; with an `origin`, after another training's, whose seconds are its own."""
        self.log, self.origin = list(state["log"]), origin or state["origin"]
        self.seconds_before = 0.0 if origin else float(state["seconds"])


class Watch(TrainerCallback):
    """Reports progress, keeps the log, and requests a checkpoint every `checkpoint_s` seconds and at step `kept_at`."""

    def __init__(
        self,
        record: Record,
        examples: Sequence[Example],
        plan: BatchPlan,
        checkpoint_s: float,
        progress: Progress | None,
        kept_at: int = 0,
    ) -> None:
        self.record, self.examples, self.plan = record, examples, plan
        self.checkpoint_s, self.progress, self.kept_at = checkpoint_s, progress, kept_at
        self.saved = time.monotonic()

    def on_reference(self, done: int, pairs: int) -> None:
        """While DPO's reference is computed, before the first step."""
        if self.progress:
            self.progress(0, self.plan.steps, unit="steps", note=f"reference, {done} of {pairs} pairs")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """After each step of the optimiser."""
        step, last = state.global_step, state.global_step == self.plan.steps
        control.should_log = last or step == 1 or step % LOG_EVERY == 0
        due = time.monotonic() - self.saved >= self.checkpoint_s
        due = control.should_log and not last and _as_first_process(due, args.device)
        control.should_save = due or step == self.kept_at
        if control.should_save:
            self.saved = time.monotonic()
        if self.progress:
            note = f"loss {self.record.log[-1]['loss']:.3f}" if self.record.log else ""
            self.progress(step, self.plan.steps, unit="steps", note=note)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """Once per entry of the log, and once more with a summary, which we write ourselves."""
        if "loss" not in logs:
            return
        since = int(self.record.log[-1]["step"]) if self.record.log else 0
        entry: dict[str, float] = {"step": state.global_step}
        entry |= {name: float(logs[name]) for name in LOGGED if name in logs}
        self.record.log.append(entry | self._lengths(since, state.global_step))

    def _lengths(self, since: int, until: int) -> dict[str, float]:
        """Mean tokens of the completions that were trained on after step `since`, up to step `until`."""
        trained = [
            self.examples[i] for i in self.plan.order[since * self.plan.batch : until * self.plan.batch]
        ]
        names = ("completion",) if len(trained[0].completions) == 1 else ("chosen", "rejected")
        return {
            f"lengths/{name}": sum(len(row.completions[side]) for row in trained) / len(trained)
            for side, name in enumerate(names)
        }


def _as_first_process(decision: bool, device: Any) -> bool:
    """The first process's decision: clocks differ, and all processes have to do the same."""
    if not torch.distributed.is_initialized():
        return decision
    shared = torch.tensor(int(decision), device=device)
    torch.distributed.broadcast(shared, src=0)
    return bool(shared.item())
