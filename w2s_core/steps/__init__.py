"""The steps of the recipe: each reads the folders of its inputs, calls one room, and writes its own folder.

Only what decides a result is a parameter. Devices, batch sizes, folders and trackers come in `ctx.runtime`. The
modules under `code` and the libraries enter a step's key, so that a changed rule never answers with an old result.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from w2s_core.engine import Context, step
from w2s_core.errors import StopBranch, UserError
from w2s_core.rows import Row, read_rows, write_json, write_rows

Responses = dict[str, list[str]]
Method = Literal["sft", "dpo", "orpo"]
Classes = list[int | None]

ANSWER_CODE = (
    "w2s_core.answers.extract",
    "w2s_core.answers.forms",
    "w2s_core.answers.grading",
    "w2s_core.answers.pool",
    "w2s_core.answers.child",
)
ANSWER_LIBRARIES = ("math-verify", "sympy")
MODEL_CODE = ("w2s_core.models", "w2s_core.prompting")
MODEL_LIBRARIES = ("torch", "transformers", "peft")


@step(version=1, unkeyed=("source",))
def questions(ctx: Context, *, source: dict[str, Any], split: str, digest: str) -> Row:
    """The questions of a split, without their answers: rows of id, question. `digest` is of exactly these rows."""
    from w2s_core.data.splits import load_splits, question_rows

    return _write_split(ctx, question_rows(load_splits(**source).problems[split]), split, digest)


@step(version=1, unkeyed=("source",))
def gold(ctx: Context, *, source: dict[str, Any], split: str, digest: str) -> Row:
    """The gold answers of a split: rows of id, gold, solution, level, template."""
    from w2s_core.data.splits import gold_rows, load_splits

    return _write_split(ctx, gold_rows(load_splits(**source).problems[split]), split, digest)


@step(version=1)
def base_model(ctx: Context, *, ref: str) -> Row:
    """A pretrained model, named by its content (`sha256:...`) or by its pinned revision on a hub."""
    write_json(ctx.out / "model.json", {"base": ref, "adapters": []})
    return {"base": ref}


@step(version=1, code=ANSWER_CODE, libraries=ANSWER_LIBRARIES)
def demonstrate(ctx: Context, *, questions: Path, responses: Path, rule: str, shots: int, seed: int) -> Row:
    """Draw the demonstrations: `shots` questions at random among those whose response has a final answer."""
    from w2s_core.answers.extract import extract

    asked = {row["id"]: row["question"] for row in read_rows(questions / "rows.parquet")}
    answered = [
        {"id": row["id"], "question": asked[row["id"]], "response": row["responses"][0]}
        for row in read_rows(responses / "rows.parquet")
        if extract(row["responses"][0], rule) is not None
    ]
    if len(answered) < shots:
        raise StopBranch(
            f"demonstrate: {shots} demonstrations wanted, only {len(answered)} responses have an answer"
        )
    chosen = random.Random(f"demonstrations-{seed}").sample(answered, shots)
    write_rows(ctx.out / "rows.parquet", chosen)
    return {"ids": [row["id"] for row in chosen], "answered": len(answered)}


@step(version=1, code=("w2s_core.sampling", *MODEL_CODE), libraries=MODEL_LIBRARIES, gpu=True)
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
    engine: str = "transformers",
    precision: str = "float32",
) -> Row:
    """Answer every question n times: rows of id, and the lists responses, tokens, finish (eos, stop or length).

    `engine`: transformers, or vllm with its version. `precision`: float32 or bfloat16.
    """
    from w2s_core.prompting import few_shot_prefix, zero_shot
    from w2s_core.sampling import SamplingParams

    prompts = [(row["id"], zero_shot(row["question"])) for row in read_rows(questions / "rows.parquet")]
    prefix = ""
    if demonstrations is not None:
        shown = read_rows(demonstrations / "rows.parquet")
        prefix = few_shot_prefix([(row["question"], row["response"]) for row in shown])
    params = SamplingParams(max_new_tokens=max_new_tokens, n=n, temperature=temperature, seed=seed)
    drawn = _sampling_engine(ctx, model, engine, precision).generate(
        prompts, params, prefix=prefix, progress=ctx.progress, unfinished=ctx.work / "responses.jsonl"
    )
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
    """Keep the questions on which both sides agree (section 3.1): rows of id, weak, icl (two responses), share."""
    from w2s_core.selection import agree_question

    weak_side, icl_side, barred = _responses(weak), _responses(icl), _ids(exclude)
    kept = []
    counts = Counter({"kept": 0, "disagree": 0, "demonstrations": 0})
    for name, (left, right) in _classes(weak_side, icl_side, rule):
        found = agree_question(left, right, consistency)
        if name in barred:
            counts["demonstrations"] += 1
        elif found is None:
            counts["disagree"] += 1
        else:
            counts["kept"] += 1
            texts = {"weak": weak_side[name][found.weak], "icl": icl_side[name][found.icl]}
            kept.append({"id": name, **texts, "share": found.share})
    if not kept:
        raise StopBranch(
            f"agree: the two sides agree on none of {len(weak_side)} questions at consistency {consistency}: "
            "nothing to fine-tune on"
        )
    write_rows(ctx.out / "rows.parquet", kept)
    return {"questions": len(weak_side), **counts}


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
    from w2s_core.selection import contrast_question

    weak_side, drawn, barred = _responses(weak), _responses(samples), _ids(exclude)
    rows = []
    counts: Counter[str] = Counter()
    for name, (labelled, sampled) in _classes(weak_side, drawn, rule):
        if name in barred:
            counts["demonstrations"] += 1
            continue
        pairs, outcome = contrast_question(
            labelled[0],
            sampled,
            keep=keep,
            flip=flip,
            per_question=per_question,
            rng=random.Random(f"contrast-{seed}-{name}"),
        )
        counts[outcome] += 1
        for pair in pairs:
            two = weak_side[name][0], drawn[name][pair.sample]
            chosen, rejected = two if pair.kind == "weak_chosen" else two[::-1]
            rows.append({"id": name, "chosen": chosen, "rejected": rejected, "kind": pair.kind})
    if not rows:
        raise StopBranch(
            f"contrast: no question gives a pair ({_listed(counts)}): Stage II has nothing to train on"
        )
    write_rows(ctx.out / "rows.parquet", rows)
    kinds = Counter(row["kind"] for row in rows)
    return {"questions": len(weak_side), "pairs": len(rows), **kinds, **counts}


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


@step(version=1, code=ANSWER_CODE, libraries=ANSWER_LIBRARIES)
def grade(ctx: Context, *, responses: Path, gold: Path, rule: str, side: str = "responses") -> Row:
    """Grade responses against gold: rows of id, level, template, and the lists answers, verdicts, tokens, finish."""
    from w2s_core.answers.extract import extract
    from w2s_core.answers.grading import Grader

    truth = {row["id"]: row for row in read_rows(gold / "rows.parquet")}
    rows = []
    with Grader(rule) as grader:
        for row in read_rows(responses / "rows.parquet"):
            answers = [
                extract(text, rule) for text in (row["responses"] if side == "responses" else [row[side]])
            ]
            known = truth[row["id"]]
            rows.append(
                {
                    "id": row["id"],
                    "level": known["level"],
                    "template": known["template"],
                    "answers": answers,
                    "verdicts": [
                        str(one) for one in grader.grade([(answer, known["gold"]) for answer in answers])
                    ],
                    "tokens": row.get("tokens", []),
                    "finish": row.get("finish", []),
                }
            )
            ctx.progress(len(rows), None, "questions")
    write_rows(ctx.out / "grades.parquet", rows)
    verdicts = Counter(verdict for row in rows for verdict in row["verdicts"])
    return {"questions": len(rows), "graded": sum(verdicts.values()), **verdicts}


def _classes(weak: Responses, other: Responses, rule: str) -> Iterator[tuple[str, tuple[Classes, Classes]]]:
    """For each question of the weak side: the classes of equal answers among its responses and the other side's."""
    from w2s_core.answers.extract import extract
    from w2s_core.answers.grading import Grader

    with Grader(rule) as grader:
        for name, responses in weak.items():
            both = grader.classes([extract(text, rule) for text in (*responses, *other[name])])
            yield name, (both[: len(responses)], both[len(responses) :])


def _responses(folder: Path) -> Responses:
    return {row["id"]: row["responses"] for row in read_rows(folder / "rows.parquet")}


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _write_split(ctx: Context, rows: list[Row], split: str, digest: str) -> Row:
    from w2s_core.data.splits import rows_digest

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


def _device(ctx: Context) -> str:
    """Where to compute. On a CPU one thread a process: then the number of workers cannot change a bit."""
    import torch

    from w2s_core.models import resolve_device

    device = resolve_device(str(ctx.runtime.get("device", "auto")))
    if device == "cpu":
        torch.set_num_threads(1)
    return device


def _sampling_engine(ctx: Context, model: Path, engine: str, precision: str) -> Any:
    from w2s_core.models import load_model, load_tokenizer, locate
    from w2s_core.sampling import TransformersEngine

    if engine != "transformers":
        from w2s_core.sampling.vllm_engine import VllmEngine

        bases = ctx.runtime["bases"]
        return VllmEngine(
            locate(model, bases),
            load_tokenizer(model, bases),
            device=_device(ctx),
            precision=precision,
            work=ctx.work,
            tensor_parallel=ctx.runtime.get("tensor_parallel", 1),
            memory=ctx.runtime.get("gpu_memory", 0.9),
        )
    bases, device = ctx.runtime["bases"], _device(ctx)
    loaded, tokenizer = load_model(model, bases, device=device, precision=precision)
    return TransformersEngine(loaded, tokenizer, batch_size=ctx.runtime.get("batch_size", 256))


def _train(
    ctx: Context, model: Path, examples: list[Row], method: Method, settings: dict[str, Any], seed: int
) -> Row:
    from w2s_core.training import TrainSettings, leave_launcher, train, train_launched

    if vllm := sys.modules.get("w2s_core.sampling.vllm_engine"):
        vllm.shut_down()  # it holds most of the device's memory
    if not (launch := ctx.runtime.get("accelerate")):
        leave_launcher()
    compute = partial(train_launched, Path(launch)) if launch else train
    return compute(
        model,
        examples,
        TrainSettings(method=method, seed=seed, **settings),
        bases=ctx.runtime["bases"],
        out=ctx.out,
        work=ctx.work,
        device=_device(ctx),
        micro_batch=ctx.runtime.get("micro_batch"),
        progress=ctx.progress,
    )
