"""Weak-to-strong reasoning (arXiv 2407.13647), as a plain function of steps.

Calling a step computes nothing: it returns a handle, and the handles form the graph that a run computes. Read
`weak_to_strong` beside section 3 of the paper; what each step does stands in `w2s_core.steps`.
"""

import operator
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from math import inf
from typing import Literal

from pydantic import Field, model_validator

from w2s_core.engine import Handle
from w2s_core.errors import UserError
from w2s_core.experiment import MAX_SAMPLES, Cpo, Dpo, Experiment, Preference, Simpo, Training
from w2s_core.recipes.recipe import Answerer, Given, Outline, Recipe, Role, Targets, answer
from w2s_core.steps import agree, contrast, demonstrate, grade, on_same_questions, prefer, random_subset, sft
from w2s_core.strict_yaml import Misplaced, Section

SIDES = {"weak": ("weak",), "icl": ("icl",), "hybrid": ("weak", "icl")}
"""The columns of an agreed set that each of Stage I's models is trained on."""


class StageOne(Section):
    """Stage I: iterations of agreement and fine-tuning (paper, section 3.1)."""

    iterations: int = Field(default=2, ge=1, le=100, description="rounds of agreement and fine-tuning")
    samples: int = Field(
        default=1,
        ge=1,
        description="answers of each side; 1 = greedy, as in the paper [responses a question]",
    )
    consistency: float = Field(default=1.0, ge=0, le=1, description="least share of agreeing pairs [share]")
    temperature: float = Field(default=1.0, gt=0, description="used where samples > 1")


class StageTwo(Section):
    """Stage II: contrastive pairs by the model's own confidence, then preference training (paper, section 3.2)."""

    methods: tuple[Literal["dpo", "orpo", "cpo", "simpo"], ...] = Field(
        default=("dpo", "orpo"), description="preference trainings, each from M_plus"
    )
    samples: int = Field(
        default=10, ge=2, le=MAX_SAMPLES, description="solutions sampled [responses a question]"
    )
    temperature: float = Field(default=1.0, gt=0, description="of those samples")
    keep: float = Field(
        default=0.6, ge=0, le=1, description="least confidence of the majority answer [share]"
    )
    flip: float = Field(
        default=0.8, ge=0, le=1, description="least confidence to overrule the weak answer [share]"
    )
    per_question: int = Field(default=1, ge=1, le=MAX_SAMPLES, description="most pairs [pairs a question]")
    dpo: Dpo = Field(description="the training by DPO")
    orpo: Preference = Field(description="the training by ORPO")
    # not required, and left out of records where they are, as if they did not exist
    cpo: Cpo | None = Field(default=None, exclude_if=operator.not_, description="the training by CPO")
    simpo: Simpo | None = Field(default=None, exclude_if=operator.not_, description="the training by SimPO")

    @model_validator(mode="after")
    def _methods_have_their_settings(self) -> "StageTwo":
        for method in self.methods:
            if getattr(self, method) is None:
                raise Misplaced(
                    ("methods",), f"has {method}, whose settings are missing: add stage2.{method}"
                )
        return self


class Minimums(Section):
    """Below which sizes and shares a branch is not worth training; all are measured without gold answers."""

    agreed: int = Field(
        default=20, ge=1, description="agreed questions, in each iteration of Stage I [questions]"
    )
    parsed: float = Field(default=0.5, ge=0, le=1, description="in-context answers that can be read [share]")
    pairs: int = Field(default=20, ge=1, description="contrastive pairs of Stage II [pairs]")
    on_too_few: Literal["warn", "stop"] = Field(
        default="warn", description="below one of these: a warning, or the end of the branch"
    )

    def of(self, *names: str) -> dict[str, dict[str, float]]:
        """Some of them as a step takes them: those that it stops below, which are in its key, or warns below."""
        limits = {name: getattr(self, name) for name in names}
        return {f"{self.on_too_few}_below": limits}


class WeakToStrong(Experiment):
    """The fields of the method."""

    weak: str = Field(description="folder of the weak base model (relative to this file), or hub id@revision")
    strong: str = Field(description="folder of the strong base model, or hub id@revision")
    shots: int = Field(
        default=4, ge=1, le=10_000, description="demonstrations in the strong model's prompt [questions]"
    )
    weak_sft: Training = Field(description="fine-tuning of the weak model on gold of train_1")
    sft: Training = Field(description="every fine-tuning of the strong model")
    stage1: StageOne = Field(default=StageOne(), description="agreement and fine-tuning")
    stage2: StageTwo = Field(description="contrastive pairs and preference training")
    # left out of records and digests where it is the default, so that these are as before there was the field
    minimums: Minimums = Field(
        default=Minimums(), exclude_if=Minimums().__eq__, description="what is too little to train on"
    )
    controls: bool = Field(default=False, description="add the comparisons at matched steps")


def weak_to_strong(x: WeakToStrong, given: Given, targets: Targets) -> None:
    """The whole method with its baselines."""
    questions = given.questions["train_2"]
    tune = partial(
        sft, model=given.base["strong"], questions=questions, settings=x.training(x.sft), seed=x.seed
    )
    judge = partial(_judge, targets, x.stage1.iterations, _sampled(x))

    # The weak model learns from gold answers on train_1 and labels train_2; its answers, used as
    # demonstrations, draw a second set of answers from the strong model (section 3.1, D_weak and D_icl).
    weak = sft(
        model=given.base["weak"],
        questions=given.questions["train_1"],
        responses=given.gold["train_1"],
        columns=("solution",),
        settings=x.training(x.weak_sft),
        seed=x.seed,
    )
    d_weak = answer(x, Answerer(weak), questions)
    demonstrations = demonstrate(
        questions=questions, responses=d_weak, rule=given.rule, shots=x.shots, seed=x.seed
    )
    icl = Answerer(given.base["strong"], demonstrations)
    d_icl = answer(x, icl, questions)
    judge("weak_floor", Answerer(weak))
    judge("zero_shot", Answerer(given.base["strong"]))
    judge("full_weak_ft", Answerer(tune(responses=d_weak)))
    judge("weak_icl", icl)

    # Stage I: fine-tune the strong base where the two sides agree; the tuned models are the next two sides.
    sides = {"weak": Answerer(weak), "icl": icl}
    label_sets: dict[str, Handle] = {}
    icl_trainings: list[tuple[Handle, Handle]] = []
    for i in range(1, x.stage1.iterations + 1):
        responses = {
            side: answer(x, answerer, questions, n=x.stage1.samples, temperature=x.stage1.temperature)
            for side, answerer in sides.items()
        }
        agreed = agree(
            **responses,
            exclude=demonstrations,
            rule=given.rule,
            consistency=x.stage1.consistency,
            **x.minimums.of("agreed", *(["parsed"] if i == 1 else [])),
        )
        tuned = {side: Answerer(tune(responses=agreed, columns=columns)) for side, columns in SIDES.items()}
        for side, answerer in tuned.items():
            judge(f"{side}_ft_{i}", answerer)
        label_sets |= {f"{side}_{i - 1}": handle for side, handle in responses.items()} | {
            f"agreed_{i}": agreed
        }
        sides = {side: tuned[side] for side in ("weak", "icl")}
        icl_trainings.append((agreed, tuned["icl"].model))
    m_plus = tuned["hybrid"]

    # Stage II: contrastive pairs by the confidence of M_plus, then preference training from M_plus (section 3.2).
    votes = answer(x, m_plus, questions, n=x.stage2.samples, temperature=x.stage2.temperature)
    pairs = contrast(
        weak=d_weak,
        samples=votes,
        exclude=demonstrations,
        rule=given.rule,
        keep=x.stage2.keep,
        flip=x.stage2.flip,
        per_question=x.stage2.per_question,
        seed=x.seed,
    )
    train = partial(
        prefer, model=m_plus.model, questions=questions, pairs=pairs, seed=x.seed, **x.minimums.of("pairs")
    )
    for method in x.stage2.methods:
        judge(method, Answerer(train(method=method, settings=x.training(getattr(x.stage2, method)))))

    # What gold answers would have given: the ceiling, and the comparisons that make the claims testable.
    judge("ceiling", Answerer(tune(responses=given.gold["train_2"], columns=("solution",))))
    if x.controls:
        first = icl_trainings[0]
        for name, model in _controls(given, tune, d_icl, demonstrations, *first, seed=x.seed).items():
            judge(name, Answerer(model))
    _label(targets, label_sets | {"weak_0": d_weak, "icl_0": d_icl}, pairs)
    vote = grade(responses=votes, gold=given.gold["train_2"], rule=given.rule)
    targets.keep("vote", vote, title="votes of M_plus")
    targets.keep("pairs", pairs, title="contrastive pairs")


def _sampled(x: WeakToStrong) -> set[str]:
    """The models of which several responses a question are graded, too."""
    last = x.stage1.iterations
    return {f"icl_ft_{last}", f"hybrid_ft_{last}", "ceiling", *x.stage2.methods}


def _judge(targets: Targets, last: int, sampled: Collection[str], name: str, answerer: Answerer) -> None:
    targets.judge(
        name,
        answerer,
        title=model_title(name, last),
        role=model_role(name, last),
        samples=name in sampled,
    )


def _controls(
    given: Given,
    tune: Callable[..., Handle],
    d_icl: Handle,
    demonstrations: Handle,
    agreed: Handle,
    icl_ft: Handle,
    seed: int,
) -> dict[str, Handle]:
    """What icl-ft of iteration 1 is to be held against, each trained for exactly as many steps."""
    random = random_subset(responses=d_icl, like=agreed, exclude=demonstrations, seed=seed)
    gold = on_same_questions(responses=given.gold["train_2"], like=agreed)
    return {
        "gold_on_agreed": tune(responses=gold, columns=("solution",), steps_of=icl_ft),
        "icl_all": tune(responses=d_icl, exclude=demonstrations, steps_of=icl_ft),
        "random_subset": tune(responses=random, steps_of=icl_ft),
    }


def _label(targets: Targets, label_sets: dict[str, Handle], pairs: Handle) -> None:
    """Grades of every labelled set, and of both sides of the pairs."""
    for name in sorted(label_sets, key=_set_rank):
        column = "weak" if name.startswith("agreed") else "responses"
        targets.label(name, label_sets[name], "train_2", title=set_title(name), column=column)
    for column in ("chosen", "rejected"):
        name = f"pairs_{column}"
        targets.label(name, pairs, "train_2", title=set_title(name), column=column)


# What tables call the targets. Records keep it; those written before they did are read by `old_outline`.

_BASELINES = {
    "zero_shot": "strong, zero-shot",
    "full_weak_ft": "full weak FT",
    "weak_icl": "weak ICL",
}
_CONTROLS = {
    "gold_on_agreed": "control: gold",
    "icl_all": "control: all ICL",
    "random_subset": "control: random",
}
_TITLES = {
    "weak_floor": "weak floor",
    "dpo": "M_plus + DPO",
    "orpo": "M_plus + ORPO",
    "cpo": "M_plus + CPO",
    "simpo": "M_plus + SimPO",
    "ceiling": "strong ceiling",
    **_BASELINES,
    **_CONTROLS,
}
_ROLES: dict[str, Role] = {
    "weak_floor": "floor",
    "ceiling": "ceiling",
    **dict.fromkeys(_BASELINES, "baseline"),
    **dict.fromkeys(_CONTROLS, "control"),
}
_STAGE_ONE = re.compile(r"(weak|icl|hybrid)_ft_(\d+)")
_SET = re.compile(r"(weak|icl|agreed)_(\d+)")


def model_title(name: str, last: int) -> str:
    """What tables call a model; the hybrid-ft of iteration `last` is marked as M_plus."""
    if stage_one := _STAGE_ONE.fullmatch(name):
        alias = " = M_plus" if name == f"hybrid_ft_{last}" else ""
        return f"{stage_one[1]}-ft {stage_one[2]}{alias}"
    return _TITLES.get(name, name)


def model_role(name: str, last: int) -> Role:
    """What a model is to the method."""
    if _STAGE_ONE.fullmatch(name) and name != f"hybrid_ft_{last}":
        return "variant"
    return _ROLES.get(name, "method")


def set_title(name: str) -> str:
    """What tables call a labelled set of train_2."""
    side, _, number = name.rpartition("_")
    if name in ("weak_0", "icl_0"):
        return f"D_{side}"
    if side == "agreed":
        return f"agreed {number}"
    return f"{side}-ft {number}, answers" if _SET.fullmatch(name) else name


def _set_rank(name: str) -> tuple[float, int, str]:
    """Labelled sets by iteration: the two sides, then what they agree on; then the sides of the pairs."""
    if (known := _SET.fullmatch(name)) is None:
        return inf, 0, name
    return int(known[2]) - (known[1] == "agreed"), ("weak", "icl", "agreed").index(known[1]), ""


def _old_outline(labels: Sequence[str]) -> list[Outline]:
    """The targets of a record that kept their labels only, in the order of the paper."""
    parts = [label.split("/") for label in labels]
    last = max((int(m[2]) for *_, name in parts if (m := _STAGE_ONE.fullmatch(name))), default=0)
    models = [
        Outline(kind, name, model_title(name, last), model_role(name, last), split)  # type: ignore[arg-type]
        for kind, split, name in (part for part in parts if len(part) == 3)
    ]
    sets = [Outline("labels", part[1], set_title(part[1])) for part in parts if len(part) == 2]
    others = [Outline("data", part[0], part[0]) for part in parts if len(part) == 1]
    return [
        *sorted(models, key=lambda entry: (entry.split, _model_rank(entry.name), entry.kind)),
        *sorted(sets, key=lambda entry: _set_rank(entry.name)),
        *sorted(others, key=lambda entry: entry.name, reverse=True),
    ]


_STAGE_ONE_MODELS = "*_ft_*"
_ORDER = ("weak_floor", *_BASELINES, _STAGE_ONE_MODELS, "dpo", "orpo", "cpo", "simpo", "ceiling", *_CONTROLS)
"""The order in which the recipe judges its models."""


def _model_rank(name: str) -> tuple[int, int, int]:
    """The place of a model in that order; Stage I by iteration and side; what is not known comes last."""
    if stage_one := _STAGE_ONE.fullmatch(name):
        return _ORDER.index(_STAGE_ONE_MODELS), int(stage_one[2]), list(SIDES).index(stage_one[1])
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), 0, 0


def _final(x: WeakToStrong) -> str:
    """What a run ends with: its one Stage II method, or M_plus where there is none.

    Raises:
        UserError: there are several Stage II methods.
    """
    if len(x.stage2.methods) > 1:
        raise UserError(
            "stage2.methods has several: vary stage2.methods, fix it to one, or name the target, for example "
            "greedy/dev/dpo"
        )
    return x.stage2.methods[0] if x.stage2.methods else f"hybrid_ft_{x.stage1.iterations}"


RECIPE = Recipe(
    name="weak_to_strong",
    summary="Weak-to-Strong Reasoning (arXiv 2407.13647): agreement fine-tuning, then DPO or ORPO",
    fields=WeakToStrong,
    models=("weak", "strong"),
    splits=("train_1", "train_2"),
    build=weak_to_strong,
    final=_final,
    rungs=lambda x: [f"hybrid_ft_{i}" for i in range(1, x.stage1.iterations + 1)],
    outputs=("controls", "stage2.methods"),
    report="w2s_analysis.weak_to_strong.report:REPORT",
    old_outline=_old_outline,
)
