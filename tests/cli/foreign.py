"""A method, a task and an answer rule of a stranger's, in a folder of their own."""

import json
from pathlib import Path

from tests.tiny import BASES

METHOD = '''
"""Best of several: the model learns from the shortest of its own samples."""

from pathlib import Path

from pydantic import Field

from w2s_core.engine import Context, step
from w2s_core.experiment import Experiment, Section, Training
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Answerer, Given, Recipe, Targets, answer
from w2s_core.rows import Row, read_rows, write_rows
from w2s_core.steps import sft


class Draws(Section):
    """How many samples, and how they are drawn."""

    number: int = Field(default=2, ge=2, description="samples a question")
    temperature: float = Field(default=1.0, gt=0)


class Shortest(Experiment):
    """The fields of the method."""

    model: str = Field(description="folder of the base model")
    tuning: Training
    draws: Draws = Draws()


@step(version=1, gives="responses", takes={"responses": ("responses",)})
def shortest_sample(ctx: Context, *, responses: Path) -> Row:
    """Keep the shortest response to each question."""
    rows = [
        {"id": row["id"], "responses": [min(row["responses"], key=len)]}
        for row in read_rows(responses / "rows.parquet")
    ]
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}


def shortest(x: Shortest, given: Given, targets: Targets) -> None:
    """The method."""
    base = Answerer(given.base["model"])
    questions = given.questions["train_2"]
    samples = answer(x, base, questions, n=x.draws.number, temperature=x.draws.temperature)
    chosen = shortest_sample(responses=samples)
    tuned = sft(
        model=base.model, questions=questions, responses=chosen, settings=x.training(x.tuning), seed=x.seed
    )
    targets.judge("base", base, title="the base model", role="floor")
    targets.judge("tuned", Answerer(tuned), title="the tuned model", role="method")
    targets.label("chosen", chosen, "train_2", title="the shortest samples")


RECIPE = RECIPES.register(
    "shortest",
    Recipe(
        name="shortest",
        summary="Learn from the shortest of one's own samples",
        fields=Shortest,
        models=("model",),
        splits=("train_2",),
        build=shortest,
        final=lambda x: "tuned",
    ),
)
'''

TASK = '''
"""Sums of two numbers."""

from w2s_core.plugins import RULES, TASKS
from w2s_core.tasks import Problem


def read_total(text: str) -> str | None:
    """What follows the last `total:`."""
    _, marker, answer = text.rpartition("total:")
    return answer.split()[0] if marker and answer.split() else None


class Sums:
    """Sums of two numbers below `below`."""

    name = "sums"
    answer_rule = "total"
    splits = ("train_1", "train_2", "dev", "test")

    def __init__(self, below: int) -> None:
        self.below = below

    def load(self, split: str) -> list[Problem]:
        first = self.splits.index(split)
        return [
            Problem(f"{split}-{a}", f"{a} + {first + b}?", str(a + first + b), f"total: {a + first + b}", 1, str(a))
            for a, b in ((n, self.below) for n in range(4))
        ]


def sums(options: dict) -> Sums:
    """Read `below`, a whole number."""
    return Sums(options.get("below", 50))


RULES.register("total", read_total)
TASKS.register("sums", sums)
'''


def write_method(folder: Path, *edits: tuple[str, str], **changes: object) -> Path:
    """The method's module, with pieces of text replaced, and its experiment; returns the experiment's file."""
    text = METHOD
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "my_method.py").write_text(text)
    fields: dict[str, object] = {
        "name": "mine",
        "recipe": "shortest",
        "task": {"name": "mini", "options": {"train_2": 6, "dev": 4, "test": 4, "levels": [1]}},
        "model": str(BASES / "llama"),
        "tuning": {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4},
        "max_new_tokens": 32,
        "evaluation": {"samples": 2},
    }
    path = folder / "my.yaml"
    path.write_text(json.dumps(fields | changes))
    return path
