"""Steps that train: supervised fine-tuning and preference optimisation."""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from w2s_core.engine import Context, step
from w2s_core.rows import Row, read_rows
from w2s_core.steps.common import TRAINING_CODE, TRAINING_LIBRARIES, device_of, read_ids

Method = Literal["sft", "dpo", "orpo"]


@step(version=1, code=TRAINING_CODE, libraries=TRAINING_LIBRARIES, gpu=True)
def sft(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    responses: Path,
    side: str = "responses",
    settings: dict[str, Any],
    seed: int,
    exclude: Path | None = None,
    steps_of: Path | None = None,
) -> Row:
    """Fine-tune on one side of a set: its responses or solution, or the weak, icl or both sides of an agreed set.

    With `steps_of` the run takes exactly as many optimiser steps as that trained model did.
    """
    asked = {row["id"]: row["question"] for row in read_rows(questions / "rows.parquet")}
    barred = read_ids(exclude) if exclude else set()
    rows = [row for row in read_rows(responses / "rows.parquet") if row["id"] not in barred]
    examples = [
        {"id": row["id"], "question": asked[row["id"]], "response": text}
        for row in rows
        for text in _texts(row, side)
    ]
    if steps_of is not None:
        from w2s_core.rows import read_json

        settings = settings | {"epochs": None, "max_steps": read_json(steps_of / "training.json")["steps"]}
    return _train(ctx, model, examples, "sft", settings, seed)


@step(version=1, code=TRAINING_CODE, libraries=TRAINING_LIBRARIES, gpu=True)
def prefer(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    pairs: Path,
    method: Method,
    settings: dict[str, Any],
    seed: int,
) -> Row:
    """Stage II training on pairs, by DPO or ORPO, starting from `model`."""
    asked = {row["id"]: row["question"] for row in read_rows(questions / "rows.parquet")}
    examples = [
        {"id": row["id"], "question": asked[row["id"]], "chosen": row["chosen"], "rejected": row["rejected"]}
        for row in read_rows(pairs / "rows.parquet")
    ]
    return _train(ctx, model, examples, method, settings, seed)


def _texts(row: Row, side: str) -> Iterable[str]:
    """The training texts that a row gives for a side."""
    if side == "hybrid":
        return (row["weak"], row["icl"])
    if side == "responses":
        return row["responses"][:1]
    return (row[side],)


def _train(
    ctx: Context, model: Path, examples: list[Row], method: Method, settings: dict[str, Any], seed: int
) -> Row:
    from w2s_core.training import TrainSettings, take_out_settings, train, train_launched

    if vllm := sys.modules.get("w2s_core.sampling.vllm_engine"):
        vllm.shut_down()  # it holds most of the device's memory
    take_out_settings()
    launch = ctx.runtime.get("accelerate")
    compute = partial(train_launched, Path(launch)) if launch else train
    return compute(
        model,
        examples,
        TrainSettings(method=method, seed=seed, **settings),
        bases=ctx.runtime["bases"],
        out=ctx.out,
        work=ctx.work,
        device=device_of(ctx),
        micro_batch=ctx.runtime.get("micro_batch"),
        progress=ctx.progress,
    )
