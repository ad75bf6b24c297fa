"""The price of a training step through TRL, against a bare PyTorch loop (`python -m benchmarks.training`).

Both train the same adapter on the same base with the same batches, optimiser and schedule. They take turns, one step
each, so that whatever else the machine does falls on both; figures are medians of the process's CPU time.
"""

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import TrainerCallback, get_cosine_schedule_with_warmup

from w2s_core.models import base_ref, load_model
from w2s_core.rows import write_json
from w2s_core.tasks.mini import MiniTask
from w2s_core.training.settings import TARGETS, Prepared, Site, TrainSettings, prepare, quiet, train

STRONG = Path(__file__).resolve().parents[1] / "experiments/mini/bases/strong"
BATCH = 32


def log_probabilities(model: Any, batch: dict[str, Any], mask: Any) -> tuple[Any, Any]:
    """Log-probabilities of the next tokens (rows, length - 1), zero where they are no completion, and that mask."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits[:, :-1]
    mask = mask[:, 1:].bool()
    chosen = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
    return chosen * mask, mask


def bare_sft(model: Any, batch: dict[str, Any]) -> Any:
    return model(**batch, use_cache=False).loss


def bare_dpo(model: Any, batch: dict[str, Any], beta: float = 0.1) -> Any:
    """Given, as ours, what the reference says."""
    policy = log_probabilities(model, batch, batch["completion_mask"])[0].sum(1)
    chosen, rejected = (policy - torch.cat([batch["ref_chosen_logps"], batch["ref_rejected_logps"]])).chunk(2)
    return -functional.logsigmoid(beta * (chosen - rejected)).mean()


def bare_orpo(model: Any, batch: dict[str, Any], beta: float = 0.1) -> Any:
    log_probs, mask = log_probabilities(model, batch, batch["completion_mask"])
    chosen, rejected = (log_probs.sum(1) / mask.sum(1)).chunk(2)
    odds = chosen - rejected - torch.log(-torch.expm1(chosen)) + torch.log(-torch.expm1(rejected))
    return -chosen.mean() - beta * functional.logsigmoid(odds).mean()


LOSSES: dict[str, Callable[..., Any]] = {"sft": bare_sft, "dpo": bare_dpo, "orpo": bare_orpo}


class Bare:
    """The bare loop, one step a call."""

    def __init__(self, model: Any, settings: TrainSettings, steps: int) -> None:
        torch.manual_seed(settings.seed)
        lora = LoraConfig(
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            target_modules=list(TARGETS),
            task_type="CAUSAL_LM",
        )
        self.model = get_peft_model(model, lora).train()
        self.weights = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=settings.learning_rate, weight_decay=0.0, fused=True
        )
        warmup = math.ceil(settings.warmup_ratio * steps)
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, warmup, steps)
        self.loss = LOSSES[settings.method]

    def step(self, batch: dict[str, Any]) -> float:
        loss = self.loss(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


class TakeTurns(TrainerCallback):
    """After each of TRL's steps, takes the bare loop's step on the same batch, and notes both times."""

    def __init__(self, bare: Bare, ready: Prepared) -> None:
        self.bare, self.ready = bare, ready
        self.ours: list[float] = []
        self.bares: list[float] = []
        self.losses: list[float] = []
        self.rows = ready.trainer.train_dataset.rows

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.since = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ours.append(time.process_time() - self.since)
        place = (state.global_step - 1) * BATCH
        start = time.process_time()
        rows = [self.rows[i] for i in self.ready.plan.order[place : place + BATCH]]
        self.losses.append(self.bare.step(self.ready.trainer.data_collator(rows)))
        self.bares.append(time.process_time() - start)
        self.since = time.process_time()


def rows_for(method: str, count: int) -> list[dict[str, str]]:
    """Stories of the mini task with their solutions; the rejected side is another story's solution."""
    task = MiniTask(sizes={"train_1": count})
    problems = task.load("train_1")
    rows = []
    for number, problem in enumerate(problems):
        other = problems[(number + 1) % count].solution
        row = {"id": problem.id, "question": problem.question}
        sides = (
            {"response": problem.solution}
            if method == "sft"
            else {"chosen": problem.solution, "rejected": other}
        )
        rows.append(row | sides)
    return rows


def compare(method: str, start: Path, bases: dict[str, Path], steps: int) -> dict[str, float]:
    settings = TrainSettings(method=method, learning_rate=1e-3, batch_size=BATCH, max_steps=steps)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as work, quiet():
        ready = prepare(start, rows_for(method, 1000), settings, Site(bases, Path(work), Path(work)))
        turns = TakeTurns(Bare(load_model(start, bases)[0], settings, steps), ready)
        ready.trainer.add_callback(turns)
        ready.trainer.train()
    skip = 5
    ours, bare = statistics.median(turns.ours[skip:]), statistics.median(turns.bares[skip:])
    paired = statistics.median(a / b for a, b in zip(turns.ours[skip:], turns.bares[skip:], strict=True))
    seen = [ready.examples[i].longest for i in ready.plan.order]
    padded = sum(max(seen[i : i + BATCH]) * BATCH for i in range(0, len(seen), BATCH))
    return {
        "ours_ms": ours * 1e3,
        "bare_ms": bare * 1e3,
        "ours_min": min(turns.ours[skip:]) * 1e3,
        "bare_min": min(turns.bares[skip:]) * 1e3,
        "ratio": ours / bare,
        "paired": paired,
        "tokens": sum(seen) / len(seen),
        "padding": 1 - sum(seen) / padded,
        "loss": abs(
            ready.trainer.record.log[-1]["loss"] - statistics.mean(turns.losses[-(steps % 10 or 10) :])
        ),
    }


def whole(method: str, start: Path, bases: dict[str, Path], steps: int) -> tuple[float, float]:
    """CPU seconds of a whole `train` call, and those of its steps alone."""
    settings = TrainSettings(method=method, learning_rate=1e-3, batch_size=BATCH, max_steps=steps)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        out, work = Path(folder) / "out", Path(folder) / "work"
        out.mkdir()
        stamps: list[float] = []
        begin = time.process_time()
        train(
            start,
            rows_for(method, 1000),
            settings,
            Site(bases, out, work),
            lambda *_, **__: stamps.append(time.process_time()),
        )
        return time.process_time() - begin, stamps[-1] - stamps[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="steps of each loop and method")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {platform.machine()}, 1 thread, batch {BATCH}, strong base of the mini lab"
    )
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder)
        ref = base_ref(STRONG)
        write_json(start / "model.json", {"base": ref, "adapters": []})
        for method in LOSSES:
            got = compare(method, start, {ref: STRONG}, steps)
            print(
                f"{method:5} step {got['ours_ms']:6.1f} ms (fastest {got['ours_min']:.1f}), bare loop"
                f" {got['bare_ms']:6.1f} ms (fastest {got['bare_min']:.1f}); ratio of medians {got['ratio']:.3f},"
                f" median of ratios {got['paired']:.3f}; {got['tokens']:.0f} tokens a row, {got['padding']:.1%} of it"
                f" padding; losses differ by {got['loss']:.1e}",
                flush=True,
            )
        for method in LOSSES:
            total, stepping = whole(method, start, {ref: STRONG}, steps)
            print(
                f"{method:5} whole call of {steps} steps {total:.2f} s, {total - stepping:.2f} s of it around the steps"
            )


if __name__ == "__main__":
    main()
