"""The steps of the recipe: each reads the folders of its inputs, calls one room, and writes its own folder.

Only what decides a result is a parameter. Devices, batch sizes, folders and trackers come in `ctx.runtime`. The
modules under `code` and the libraries enter a step's key, so that a changed rule never answers with an old result.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from w2s_core.engine import Context, step
from w2s_core.errors import StopBranch, UserError
from w2s_core.rows import Row, read_rows, write_json, write_rows

ANSWER_CODE = ("w2s_core.answers", "w2s_core.grading")
ANSWER_LIBRARIES = ("math-verify", "sympy")
MODEL_CODE = ("w2s_core.models", "w2s_core.prompting")
MODEL_LIBRARIES = ("torch", "transformers", "peft")


@step(version=1, unkeyed=("source",))
def questions(ctx: Context, *, source: dict[str, Any], split: str, digest: str) -> Row:
    """The questions of a split, without their answers: rows of id, question. `digest` is of exactly these rows."""
    from w2s_core.data import load_splits, question_rows

    return _write_split(ctx, question_rows(load_splits(**source).problems[split]), split, digest)


@step(version=1, unkeyed=("source",))
def gold(ctx: Context, *, source: dict[str, Any], split: str, digest: str) -> Row:
    """The gold answers of a split: rows of id, gold, solution, level, template."""
    from w2s_core.data import gold_rows, load_splits

    return _write_split(ctx, gold_rows(load_splits(**source).problems[split]), split, digest)


@step(version=1)
def base_model(ctx: Context, *, ref: str) -> Row:
    """A pretrained model, named by its content (`sha256:...`) or by its pinned revision on a hub."""
    write_json(ctx.out / "model.json", {"base": ref, "adapters": []})
    return {"base": ref}


@step(version=1, code=ANSWER_CODE, libraries=ANSWER_LIBRARIES)
def demonstrate(ctx: Context, *, questions: Path, responses: Path, rule: str, shots: int, seed: int) -> Row:
    """Draw the demonstrations: `shots` questions at random among those whose response has a final answer."""
    from w2s_core.answers import extract

    asked = {row["id"]: row["question"] for row in read_rows(questions / "rows.parquet")}
    answered = [
        {"id": row["id"], "question": asked[row["id"]], "response": row["responses"][0]}
        for row in read_rows(responses / "rows.parquet")
        if extract(row["responses"][0], rule) is not None
    ]
    if len(answered) < shots:
        raise StopBranch(f"demonstrate: {shots} demonstrations wanted, only {len(answered)} responses have an answer")
    chosen = random.Random(f"demonstrations-{seed}").sample(answered, shots)
    write_rows(ctx.out / "rows.parquet", chosen)
    return {"ids": [row["id"] for row in chosen], "answered": len(answered)}


@step(version=1, code=("w2s_core.sampling", *MODEL_CODE), libraries=MODEL_LIBRARIES)
def sample(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    demonstrations: Path | None = None,
    n: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int,
    seed: int = 0,
) -> Row:
    """Answer every question n times: rows of id, and the lists responses, tokens, finish (eos, stop or length)."""
    from w2s_core.prompting import few_shot_prefix, zero_shot
    from w2s_core.sampling import SamplingParams

    prompts = [(row["id"], zero_shot(row["question"])) for row in read_rows(questions / "rows.parquet")]
    prefix = ""
    if demonstrations is not None:
        shown = read_rows(demonstrations / "rows.parquet")
        prefix = few_shot_prefix([(row["question"], row["response"]) for row in shown])
    params = SamplingParams(max_new_tokens=max_new_tokens, n=n, temperature=temperature, seed=seed)
    engine = _sampling_engine(ctx, model)
    drawn = engine.generate(prompts, params, prefix=prefix, progress=ctx.progress)
    rows = [
        {
            "id": name,
            "responses": [one.text for one in responses],
            "tokens": [one.tokens for one in responses],
            "finish": [one.finish for one in responses],
        }
        for (name, _), responses in zip(prompts, drawn, strict=True)
    ]
    write_rows(ctx.out / "rows.parquet", rows)
    finishes = [finish for row in rows for finish in row["finish"]]
    return {
        "questions": len(rows),
        "responses": len(finishes),
        "tokens": sum(sum(row["tokens"]) for row in rows),
        "truncated": finishes.count("length"),
    }


@step(version=1, code=(*ANSWER_CODE, "w2s_core.selection"), libraries=ANSWER_LIBRARIES)
def agree(ctx: Context, *, weak: Path, icl: Path, exclude: Path, rule: str, consistency: float = 1.0) -> Row:
    """Keep the questions on which both sides agree (section 3.1): rows of id, weak, icl, share."""
    raise NotImplementedError


@step(version=1, code=(*ANSWER_CODE, "w2s_core.selection"), libraries=ANSWER_LIBRARIES)
def contrast(
    ctx: Context,
    *,
    weak: Path,
    samples: Path,
    exclude: Path,
    rule: str,
    keep: float = 0.6,
    flip: float = 0.8,
    per_question: int = 1,
    seed: int = 0,
) -> Row:
    """Contrastive pairs by the strong model's confidence (section 3.2): rows of id, chosen, rejected, kind."""
    raise NotImplementedError


@step(version=1)
def random_subset(ctx: Context, *, responses: Path, like: Path, exclude: Path, seed: int) -> Row:
    """Control: as many rows of `responses` as `like` has, drawn at random."""
    barred = _ids(exclude)
    rows = [row for row in read_rows(responses / "rows.parquet") if row["id"] not in barred]
    size = len(read_rows(like / "rows.parquet"))
    kept = random.Random(f"random-subset-{seed}").sample(rows, min(size, len(rows)))
    return {"rows": write_rows(ctx.out / "rows.parquet", kept)}


@step(version=1)
def on_same_questions(ctx: Context, *, responses: Path, like: Path) -> Row:
    """Control: the rows of `responses` on the questions of `like`."""
    wanted = _ids(like)
    kept = [row for row in read_rows(responses / "rows.parquet") if row["id"] in wanted]
    return {"rows": write_rows(ctx.out / "rows.parquet", kept)}


TRAINING_CODE = ("w2s_core.training", *MODEL_CODE)
TRAINING_LIBRARIES = (*MODEL_LIBRARIES, "trl", "accelerate", "datasets")


@step(version=1, code=TRAINING_CODE, libraries=TRAINING_LIBRARIES)
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
    barred = _ids(exclude) if exclude else set()
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


@step(version=1, code=TRAINING_CODE, libraries=TRAINING_LIBRARIES)
def prefer(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    pairs: Path,
    method: str,
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


@step(version=1, code=ANSWER_CODE, libraries=ANSWER_LIBRARIES)
def grade(ctx: Context, *, responses: Path, gold: Path, rule: str, side: str = "responses") -> Row:
    """Grade responses against gold: rows of id, level, template, and the lists answers, verdicts, tokens, finish."""
    raise NotImplementedError


def _write_split(ctx: Context, rows: list[Row], split: str, digest: str) -> Row:
    from w2s_core.data import rows_digest

    if rows_digest(rows) != digest:
        raise UserError(f"split '{split}' changed while the run was going on; start the run again")
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}


def _ids(folder: Path) -> set[str]:
    return {row["id"] for row in read_rows(folder / "rows.parquet")}


def _texts(row: Row, side: str) -> Iterable[str]:
    """The training texts that a row gives for a side."""
    if side == "hybrid":
        return (row["weak"], row["icl"])
    if side == "responses":
        return row["responses"][:1]
    return (row[side],)


def _sampling_engine(ctx: Context, model: Path) -> Any:
    from w2s_core.models import load_model
    from w2s_core.sampling import TransformersEngine

    device = ctx.runtime.get("device", "cpu")
    loaded, tokenizer = load_model(model, ctx.runtime["bases"], device=device)
    return TransformersEngine(loaded, tokenizer, batch_size=ctx.runtime.get("batch_size", 256))


def _train(
    ctx: Context, model: Path, examples: list[Row], method: str, settings: dict[str, Any], seed: int
) -> Row:
    from w2s_core.training import TrainSettings, train

    chosen = TrainSettings(method=method, seed=seed, **settings)
    return train(
        model,
        examples,
        chosen,
        bases=ctx.runtime["bases"],
        out=ctx.out,
        work=ctx.work,
        device=ctx.runtime.get("device", "cpu"),
        progress=ctx.progress,
    )
