"""Steps that draw responses: demonstrations for a prompt, and answers to every question."""

import random
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from w2s_core.engine import Context, Earlier, extending, step
from w2s_core.errors import StopBranch
from w2s_core.rows import Row, read_rows, write_rows
from w2s_core.steps.common import (
    ANSWER_CODE,
    ANSWER_LIBRARIES,
    MODEL_CODE,
    MODEL_LIBRARIES,
    device_of,
    rule_name,
    threads_of,
    threads_used,
)


@step(
    version=1,
    code=ANSWER_CODE,
    libraries=ANSWER_LIBRARIES,
    gives="demonstrations",
    takes={"questions": ("questions",), "responses": ("responses",)},
)
def demonstrate(ctx: Context, *, questions: Path, responses: Path, rule: str, shots: int, seed: int) -> Row:
    """Draw the demonstrations: `shots` questions at random among those whose response has a final answer."""
    from w2s_core.answers.extract import extract

    rule = rule_name(rule)
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


@step(version=1, gives="demonstrations", takes={"demonstrations": ("demonstrations",)})
def as_text(ctx: Context, *, demonstrations: Path) -> Row:
    """The same demonstrations, which a chat holds as text in its question and not as earlier turns."""
    shown = read_rows(demonstrations / "rows.parquet")
    write_rows(ctx.out / "rows.parquet", [row | {"as": "text"} for row in shown])
    return {"demonstrations": len(shown)}


# Prompts are prefilled in smaller parts now, with less padding, and some processors multiply by the weights of large
# bases through oneDNN. That changes no more than another batch size or processor does, and no response of the lab's
# bases: zero-shot, four-shot or sampled.
_SAME_CODE = {
    "53e62a41a64da6a0aae30f425525d6573a82ead82913865c1ff9a7f5da2d38e3": (
        "1f1dbed30deb9a1f32e05a58a99235e71d2ee09132c2afa43910fff7f739939b"
    )
}


@extending("questions", "n")
@step(
    version=1,
    code=("w2s_core.sampling", *MODEL_CODE),
    libraries=MODEL_LIBRARIES,
    # they refuse and read settings at planning, and decide no sample by themselves
    unkeyed=("w2s_core.sampling.limits", "w2s_core.sampling.generation_config"),
    same_code=_SAME_CODE,
    gpu=True,
    gives="responses",
    takes={"model": ("model",), "questions": ("questions",), "demonstrations": ("demonstrations",)},
)
def sample(
    ctx: Context,
    *,
    model: Path,
    questions: Path,
    demonstrations: Path | None = None,
    n: int = 1,
    temperature: float | dict[str, Any] = 0.0,
    max_new_tokens: int,
    seed: int = 0,
    engine: str = "transformers",
    precision: str = "float32",
) -> Row:
    """Answer every question n times: rows of id, and the lists responses, tokens, finish (eos, stop or length).

    `engine`: transformers, or vllm with its version. `precision`: float32 or bfloat16. `temperature`: a number; with
    settings that the model's base ships, all of them by name, {"temperature": 0.7, "top_k": 20}.
    """
    from w2s_core.models import encoder_of, load_tokenizer, read_prompt
    from w2s_core.sampling import SamplingParams

    shown = read_rows(demonstrations / "rows.parquet") if demonstrations is not None else []
    pairs = [(row["question"], row["response"]) for row in shown]
    tokenizer = load_tokenizer(model, ctx.runtime["bases"])
    shots = "text" if shown and shown[0].get("as") == "text" else "turns"
    encoder = encoder_of(tokenizer, read_prompt(model), shots=shots, turns=len(pairs))
    asked = read_rows(questions / "rows.parquet")
    shape = temperature if isinstance(temperature, dict) else {"temperature": temperature}
    drawn = _drawn_before(ctx, [(row["id"], row["question"]) for row in asked], n)
    if any(len(responses) < n for responses in drawn):
        prompts = [(row["id"], encoder.prompt(row["question"], pairs)) for row in asked]
        params = SamplingParams(
            max_new_tokens, n=n, seed=seed, stop=encoder.stop, end_tokens=encoder.end_tokens, **shape
        )
        drawn = _sampling_engine(ctx, model, engine, precision).generate(
            prompts,
            params,
            progress=ctx.progress,
            unfinished=ctx.work / "responses.jsonl",
            known=drawn,
        )
    rows = [
        {
            "id": row["id"],
            "responses": [one.text for one in responses],
            "tokens": [one.tokens for one in responses],
            "finish": [one.finish for one in responses],
        }
        for row, responses in zip(asked, drawn, strict=True)
    ]
    write_rows(ctx.out / "rows.parquet", rows)
    finishes = [finish for row in rows for finish in row["finish"]]
    return {
        "questions": len(rows),
        "responses": len(finishes),
        "tokens": sum(sum(row["tokens"]) for row in rows),
        "truncated": finishes.count("length"),
        **threads_used(ctx),
    }


def _fewest_last(params: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Fewer responses are the first of more, so the most are drawn first: prompts are then read once."""
    return {name: value for name, value in params.items() if name != "n"}, -params.get("n", 1)


sample.loads = "model"
sample.order = _fewest_last


Known = dict[tuple[str, str], list[Any]]
"""The first responses to each question (its id and text), as generations."""


def _drawn_before(ctx: Context, questions: list[tuple[str, str]], n: int) -> list[list[Any]]:
    """The first responses to each question that earlier results hold, at most n.

    A draw depends on its question and its number, and on nothing else in which results of one stream differ.
    """
    known: Known = {question: [] for question in questions}
    for earlier in ctx.earlier:
        if any(len(responses) < n for responses in known.values()):
            with suppress(FileNotFoundError):  # `gc` took it away
                _take(ctx, earlier, known, n)
    return [known[question] for question in questions]


def _take(ctx: Context, earlier: Earlier, known: Known, n: int) -> None:
    """Add what an earlier result holds beyond what is known, and note how much of its work that was."""
    from w2s_core.sampling import Generation

    asked = read_rows(earlier.arguments["questions"] / "rows.parquet")
    texts = {row["id"]: row["question"] for row in asked}
    rows = read_rows(earlier.folder / "rows.parquet")
    taken: Counter[str] = Counter()
    for row in rows:
        if (responses := known.get((row["id"], texts[row["id"]]))) is None:
            continue
        fresh = slice(len(responses), n)
        columns = [row[name][fresh] for name in ("responses", "tokens", "finish")]
        responses += [Generation(*response) for response in zip(*columns, strict=True)]
        taken += Counter(responses=len(columns[0]), tokens=sum(columns[1]))
    if taken:
        drawn = len(rows[0]["responses"])
        words = f"from {drawn} to {n}" if drawn < n else f"the first {n} of {drawn}"
        if len(rows) != len(known) or taken["responses"] != min(drawn, n) * len(known):
            words = f"{taken['responses']} of its {drawn * len(rows)} responses"
        ctx.taken[earlier.key] = taken["tokens"] / sum(sum(row["tokens"]) for row in rows), words


def _sampling_engine(ctx: Context, model: Path, engine: str, precision: str) -> Any:
    from w2s_core.models import load_model, load_tokenizer, locate
    from w2s_core.sampling import TransformersEngine

    if engine != "transformers":
        from w2s_core.sampling.vllm_engine import VllmEngine

        bases = ctx.runtime["bases"]
        return VllmEngine(
            locate(model, bases),
            load_tokenizer(model, bases),
            device=device_of(ctx),
            precision=precision,
            work=ctx.work,
            tensor_parallel=ctx.runtime.get("tensor_parallel", 1),
            memory=ctx.runtime.get("gpu_memory", 0.9),
        )
    bases, device = ctx.runtime["bases"], device_of(ctx)
    loaded, tokenizer = load_model(model, bases, device=device, precision=precision, threads=threads_of(ctx))
    return TransformersEngine(loaded, tokenizer, batch_size=ctx.runtime.get("batch_size", 256))
