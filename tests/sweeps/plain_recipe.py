"""A recipe that a user might bring: one model, tuned again and again on its own responses. `w2s --import THIS_FILE`."""

from pydantic import Field

from w2s_core.experiment import Experiment, Training
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Answerer, Given, Recipe, Targets, answer
from w2s_core.steps import demonstrate, sft


class Plain(Experiment):
    """The fields of the method."""

    model: str
    sft: Training
    rounds: int = Field(default=1, ge=0)
    shots: int = Field(default=3, ge=1)


def plain(x: Plain, given: Given, targets: Targets) -> None:
    """Tune the base on what it answers, then on what the tuned one answers, and so on."""
    questions, base = given.questions["train_2"], given.base["model"]
    first = answer(x, Answerer(base), questions)
    shots = demonstrate(questions=questions, responses=first, rule=given.rule, shots=x.shots, seed=x.seed)
    answerer = Answerer(base, shots)
    targets.judge("base", answerer, title="base, few shots", role="floor", samples=True)
    for number in range(1, x.rounds + 1):
        responses = answer(x, answerer, questions)
        targets.label(f"round_{number}", responses, "train_2", title=f"answers {number}")
        tuned = sft(
            model=base, questions=questions, responses=responses, settings=x.training(x.sft), seed=x.seed
        )
        answerer = Answerer(tuned)
        targets.judge(f"tuned_{number}", answerer, title=f"tuned {number}", role="method")


PLAIN = RECIPES.register(
    "plain",
    Recipe(
        name="plain",
        summary="a model tuned on its own responses",
        fields=Plain,
        models=("model",),
        splits=("train_2",),
        build=plain,
        final=lambda x: f"tuned_{x.rounds}",
        rungs=lambda x: [f"tuned_{number}" for number in range(1, x.rounds + 1)],
    ),
)
