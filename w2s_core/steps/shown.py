"""Steps that show gold solutions in prompts, for a base that is to learn a task's form."""

import random
from pathlib import Path

from w2s_core.engine import Context, step
from w2s_core.errors import StopBranch
from w2s_core.prompting import QA, QUESTION, few_shot_prefix, shown_in_question
from w2s_core.rows import Row, read_rows, write_rows


@step(version=1, gives="demonstrations", takes={"questions": ("questions",), "gold": ("gold",)})
def demonstrate_gold(ctx: Context, *, questions: Path, gold: Path, shots: int, seed: int) -> Row:
    """Draw the demonstrations: `shots` questions at random, each with its gold solution."""
    solved = _solved(questions, gold)
    if len(solved) < shots:
        raise StopBranch(
            f"demonstrate_gold: {shots} demonstrations wanted, and there are {len(solved)} questions"
        )
    chosen = random.Random(f"demonstrations-{seed}").sample(solved, shots)
    write_rows(ctx.out / "rows.parquet", chosen)
    return {"ids": [row["id"] for row in chosen]}


@step(version=1, gives="questions", takes={"questions": ("questions",), "gold": ("gold",)})
def show_gold(
    ctx: Context, *, questions: Path, gold: Path, shown: int, share: float, user: str | None = QA, seed: int
) -> Row:
    """Put `shown` other questions with their gold solutions before a share of the questions.

    The text that results is a question whose prompt is the few-shot prompt of the one it was. `user`: the prompt's
    template in plain text; None in a chat, whose question then holds them as text.
    """
    solved = _solved(questions, gold)
    if len(solved) <= shown:
        raise StopBranch(
            f"show_gold: {shown} questions before another one wanted, and there are {len(solved)}"
        )
    rng = random.Random(f"shown-{seed}")
    first = set(rng.sample(range(len(solved)), round(share * len(solved))))
    rows = []
    for i, row in enumerate(solved):
        others = rng.sample([other for other in solved if other is not row], shown) if i in first else []
        rows.append({"id": row["id"], "question": _after(others, row["question"], user)})
    write_rows(ctx.out / "rows.parquet", rows)
    return {"rows": len(rows), "with_solutions_before": len(first)}


def _solved(questions: Path, gold: Path) -> list[Row]:
    solutions = {row["id"]: row["solution"] for row in read_rows(gold / "rows.parquet")}
    return [
        {"id": row["id"], "question": row["question"], "response": solutions[row["id"]]}
        for row in read_rows(questions / "rows.parquet")
    ]


def _after(shown: list[Row], question: str, user: str | None) -> str:
    """What stands in the place of the question so that the prompt shows these before it."""
    if not shown:
        return question
    pairs = [(row["question"], row["response"]) for row in shown]
    if user is None:
        return shown_in_question(pairs, question)
    before = user.partition(QUESTION)[0]  # stands before the question in any case
    return (few_shot_prefix(pairs, user) + before + question).removeprefix(before)
