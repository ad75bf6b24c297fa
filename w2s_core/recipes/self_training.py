"""Self-training: rejection sampling where gold answers are known, majority votes where they are not.

A model is fine-tuned on gold solutions of train_1. Rejection-sampling fine-tuning (Yuan et al., arXiv 2308.01825)
trains the base on those of its own solutions to train_1 that gold calls right. Majority-vote distillation (Huang et
al., arXiv 2210.11610) trains the base on solutions to train_2 whose answer most samples share; no gold answer of
train_2 is used. Both are held against training on gold of train_2, and on all first samples without a vote.

Left out of either paper: several solutions a question, and demonstrations in the prompt that draws them.
"""

from functools import partial

from pydantic import Field

from w2s_core.experiment import MAX_SAMPLES, Experiment, Training
from w2s_core.recipes.recipe import Answerer, Given, Recipe, Targets, answer
from w2s_core.steps import keep_majority, keep_right, sft


class SelfTraining(Experiment):
    """The fields of the method."""

    model: str = Field(description="folder of the base model (relative to this file), or hub id@revision")
    sft: Training = Field(description="every fine-tuning")
    samples: int = Field(
        default=8, ge=2, le=MAX_SAMPLES, description="solutions sampled [responses a question]"
    )
    temperature: float = Field(default=1.0, gt=0, description="of those samples")
    confidence: float = Field(
        default=0.6, ge=0, le=1, description="least share of the commonest answer [share]"
    )


def self_training(x: SelfTraining, given: Given, targets: Targets) -> None:
    """The method with its floor, control and ceiling."""
    settings = x.training(x.sft)
    tune = partial(sft, model=given.base["model"], settings=settings, seed=x.seed)
    sampled = partial(answer, x, n=x.samples, temperature=x.temperature)
    known, unlabelled = given.questions["train_1"], given.questions["train_2"]

    # The teacher learns from gold of train_1, and its own right solutions teach the base again.
    teacher = tune(questions=known, responses=given.gold["train_1"], columns=("solution",))
    right = keep_right(
        responses=sampled(Answerer(teacher), known), gold=given.gold["train_1"], rule=given.rule
    )
    rejection = tune(questions=known, responses=right)

    # Votes of the teacher label train_2.
    votes = sampled(Answerer(teacher), unlabelled)
    majority = keep_majority(responses=votes, rule=given.rule, confidence=x.confidence)
    distilled = tune(questions=unlabelled, responses=majority)
    first_samples = tune(questions=unlabelled, responses=votes)
    ceiling = tune(questions=unlabelled, responses=given.gold["train_2"], columns=("solution",))

    judge = partial(targets.judge, samples=True)
    judge("teacher", Answerer(teacher), title="gold FT on train_1", role="floor")
    targets.judge("zero_shot", Answerer(given.base["model"]), title="base, zero-shot", role="baseline")
    judge("rejection", Answerer(rejection), title="rejection-sampling FT", role="method")
    judge("majority", Answerer(distilled), title="majority-vote distillation", role="method")
    judge("first_samples", Answerer(first_samples), title="control: first samples", role="control")
    judge("ceiling", Answerer(ceiling), title="gold FT on train_2", role="ceiling")
    targets.label("votes", votes, "train_2", title="all votes")
    targets.label("majority", majority, "train_2", title="majority answers")


RECIPE = Recipe(
    name="self_training",
    summary="Rejection-sampling fine-tuning (arXiv 2308.01825) and majority-vote distillation (arXiv 2210.11610)",
    fields=SelfTraining,
    models=("model",),
    splits=("train_1", "train_2"),
    build=self_training,
    final=lambda x: "majority",
    rungs=lambda x: ("rejection",),
)
