"""Steps that train: supervised fine-tuning and preference optimisation."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from w2s_core.engine import Context, step
from w2s_core.rows import Row, read_rows
from w2s_core.steps.common import (
    TRAINING_CODE,
    TRAINING_LIBRARIES,
    Minimums,
    device_of,
    held_to,
    read_ids,
    threads_of,
    threads_used,
)
from w2s_core.training.settings import Method


def _length(params: dict[str, Any]) -> tuple[dict[str, Any], float] | None:
    """A training's parameters without its length, and its length in steps or epochs; None where its schedule ends."""
    settings = dict(params["settings"])
    epochs, steps = settings.pop("epochs", None), settings.pop("max_steps", None)
    if settings.get("scheduler") != "constant":
        return None
    settings["unit"] = "epochs" if steps is None else "steps"
    return params | {"settings": settings}, epochs if steps is None else steps


# Some processors multiply by the weights of large bases through oneDNN now, which changes no more than another
# processor does, and no byte of an adapter of the lab's bases.
_SAME_CODE = {
    "aaa926509010036409bba4caeeb592a0272012bbd94061b16709ba0e9bc877e9": (
        "56481eec24454c04892e3f4b3c4d4e8f6403dd678d615253bfb0149b17507c68"
    ),
    "1fd6f843f43628d1683bbdd351bdf9f877cb7ae4dc39315d5dba0e6881f2f3a1": (
        "c2dc01048301ae60afb895de41d532d4346560e61e0b5c0a500e26ab2722bd38"
    ),
}


@step(
    version=1,
    code=TRAINING_CODE,
    libraries=TRAINING_LIBRARIES,
    same_code=_SAME_CODE,
    unkeyed=("w2s_core.sampling",),
    gpu=True,
    gives="model",
    takes={
        "model": ("model",),
        "questions": ("questions",),
        "responses": ("responses", "gold", "agreed"),
        "exclude": ("demonstrations",),
        "steps_of": ("model",),
    },
)
def sft(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    responses: Path,
    columns: Sequence[str] = ("responses",),
    settings: dict[str, Any],
    seed: int,
    exclude: Path | None = None,
    steps_of: Path | None = None,
) -> Row:
    """Fine-tune on these columns of a set, each a training text of its row (of a list, the first).

    With `steps_of` the run takes exactly as many optimiser steps as that trained model did.
    """
    asked = {row["id"]: row["question"] for row in read_rows(questions / "rows.parquet")}
    barred = read_ids(exclude) if exclude else set()
    rows = [row for row in read_rows(responses / "rows.parquet") if row["id"] not in barred]
    examples = [
        {"id": row["id"], "question": asked[row["id"]], "response": text}
        for row in rows
        for text in _texts(row, columns)
    ]
    if steps_of is not None:
        from w2s_core.rows import read_json

        settings = settings | {"epochs": None, "max_steps": read_json(steps_of / "training.json")["steps"]}
    return _train(ctx, model, examples, "sft", settings, seed)


@step(
    version=1,
    code=TRAINING_CODE,
    libraries=TRAINING_LIBRARIES,
    same_code=_SAME_CODE,
    unkeyed=("w2s_core.sampling", "warn_below"),
    gpu=True,
    gives="model",
    takes={"model": ("model",), "questions": ("questions",), "pairs": ("pairs",)},
)
def prefer(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    pairs: Path,
    method: Method,
    settings: dict[str, Any],
    seed: int,
    stop_below: Minimums | None = None,
    warn_below: Minimums | None = None,
) -> Row:
    """Stage II training on pairs, by DPO, ORPO, CPO or SimPO, starting from `model`."""
    asked = {row["id"]: row["question"] for row in read_rows(questions / "rows.parquet")}
    examples = [
        {"id": row["id"], "question": asked[row["id"]], "chosen": row["chosen"], "rejected": row["rejected"]}
        for row in read_rows(pairs / "rows.parquet")
    ]
    warning = held_to(ctx, {"pairs": len(examples)}, stop_below, warn_below)
    return _train(ctx, model, examples, method, settings, seed) | warning


sft.loads = prefer.loads = "model"
sft.order = prefer.order = _length


def _texts(row: Row, columns: Sequence[str]) -> Iterator[str]:
    """The training texts that a row gives."""
    for column in columns:
        value = row[column]
        yield value if isinstance(value, str) else value[0]


def _train(
    ctx: Context, model: Path, examples: list[Row], method: Method, settings: dict[str, Any], seed: int
) -> Row:
    from w2s_core import sampling
    from w2s_core.training import Site, TrainSettings, take_out_settings, train, train_launched

    if vllm := sys.modules.get(f"{sampling.__name__}.vllm_engine"):
        vllm.shut_down()  # it holds most of the device's memory
    take_out_settings()
    launch = ctx.runtime.get("accelerate")
    compute = partial(train_launched, Path(launch)) if launch else train
    site = Site(
        ctx.runtime["bases"],
        ctx.out,
        ctx.work,
        device_of(ctx),
        ctx.runtime.get("micro_batch"),
        threads=threads_of(ctx),
        kept=ctx.kept,
        warn=ctx.warn,
    )
    trained = compute(
        model, examples, TrainSettings(method=method, seed=seed, **settings), site, ctx.progress
    )
    if origin := trained.pop("extends", None):
        share = origin["from_step"] / origin["steps"]
        ctx.taken[origin["key"]] = share, f"from {origin['steps']} to {origin['to']} steps"
    return trained if launch else trained | threads_used(ctx)
