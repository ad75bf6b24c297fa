"""Warm-up: a base model learns a task's form from gold solutions of questions that no other split holds.

Weak-to-strong reasoning elicits what a model can do already. A base that cannot yet is trained on the split `pretrain`
first, some of its questions behind others with their solutions, so that demonstrations in a prompt help later. It is
judged before and after, zero-shot and in context; `w2s export-adapter RUN warmed DIR --merge` makes it a base.
"""

from pydantic import Field

from w2s_core.experiment import Experiment, Training
from w2s_core.prompting import QA
from w2s_core.recipes.recipe import Answerer, Given, Recipe, Targets
from w2s_core.steps import demonstrate_gold, sft, show_gold


class WarmUp(Experiment):
    """The fields of the method."""

    model: str = Field(description="folder of the base model (relative to this file), or hub id@revision")
    sft: Training = Field(description="the training on gold of the split pretrain")
    shown: int = Field(
        default=2, ge=0, le=100, description="solutions before a question while it is trained [questions]"
    )
    share: float = Field(
        default=0.6, ge=0, le=1, description="questions that have solutions before them [share]"
    )
    shots: int = Field(
        default=4, ge=1, le=10_000, description="demonstrations where it is judged in context [questions]"
    )


def warm_up(x: WarmUp, given: Given, targets: Targets) -> None:
    """The base, and the base trained on the split `pretrain`, zero-shot and in context."""
    base, asked, gold = given.base["model"], given.questions["pretrain"], given.gold["pretrain"]
    demonstrations = demonstrate_gold(questions=asked, gold=gold, shots=x.shots, seed=x.seed)
    read = asked
    if x.shown:
        prompt = x.prompt_of("model") or {}
        user = None if prompt.get("form") == "chat" else prompt.get("user", QA)
        read = show_gold(questions=asked, gold=gold, shown=x.shown, share=x.share, user=user, seed=x.seed)
    warmed = sft(
        model=base,
        questions=read,
        responses=gold,
        columns=("solution",),
        exclude=demonstrations,
        settings=x.training(x.sft),
        seed=x.seed,
    )
    targets.judge("raw", Answerer(base), title="raw, zero-shot", role="floor")
    targets.judge("raw_icl", Answerer(base, demonstrations), title="raw, in context", role="baseline")
    targets.judge("warmed", Answerer(warmed), title="warmed, zero-shot", role="method", samples=True)
    targets.judge("warmed_icl", Answerer(warmed, demonstrations), title="warmed, in context", role="variant")


RECIPE = Recipe(
    name="warm_up",
    summary="Train a base on gold of the split pretrain, so that it can do a little of the task",
    fields=WarmUp,
    models=("model",),
    splits=("pretrain",),
    build=warm_up,
    final=lambda x: "warmed",
)
