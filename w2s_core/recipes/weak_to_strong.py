"""Weak-to-strong reasoning (arXiv 2407.13647), as a plain function of steps.

Calling a step computes nothing: it returns a handle, and the handles form the graph that a run computes. Read
`weak_to_strong` beside section 3 of the paper; what each step does stands in `steps.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from w2s_core.engine import Handle
from w2s_core.experiment import Experiment
from w2s_core.steps.grade import grade
from w2s_core.steps.sample import demonstrate, sample
from w2s_core.steps.select import agree, contrast, on_same_questions, random_subset
from w2s_core.steps.train import prefer, sft


@dataclass(frozen=True)
class Inputs:
    """Handles of what the method starts from. Questions and gold are apart, so that gold cannot slip into a prompt."""

    questions: dict[str, Handle]
    gold: dict[str, Handle]
    weak_base: Handle
    strong_base: Handle
    answer_rule: str


@dataclass(frozen=True)
class Answerer:
    """A model and how it is asked: zero-shot, or after demonstrations."""

    model: Handle
    demonstrations: Handle | None = None


def weak_to_strong(x: Experiment, given: Inputs) -> dict[str, Handle]:
    """The whole method with its baselines. Returns the handles of everything that a table reads, by label."""
    asked = given.questions["train_2"]
    answer = partial(_answer, x)
    tune = partial(sft, model=given.strong_base, questions=asked, settings=x.training(x.sft), seed=x.seed)
    rule = given.answer_rule

    # The weak model learns from gold answers on train_1 and labels train_2; its answers, used as
    # demonstrations, draw a second set of answers from the strong model (section 3.1, D_weak and D_icl).
    weak = sft(
        model=given.weak_base,
        questions=given.questions["train_1"],
        responses=given.gold["train_1"],
        side="solution",
        settings=x.training(x.weak_sft),
        seed=x.seed,
    )
    d_weak = answer(Answerer(weak), asked)
    shown = demonstrate(questions=asked, responses=d_weak, rule=rule, shots=x.shots, seed=x.seed)
    icl = Answerer(given.strong_base, shown)
    d_icl = answer(icl, asked)

    models = {
        "weak_floor": Answerer(weak),
        "zero_shot": Answerer(given.strong_base),
        "full_weak_ft": Answerer(tune(responses=d_weak)),
        "weak_icl": icl,
    }
    sets = {"weak_0": d_weak, "icl_0": d_icl}

    # Stage I: fine-tune the strong base where the two sides agree; the tuned models are the next two sides.
    sides, tuned_first = (Answerer(weak), icl), None
    for i in range(1, x.stage1.iterations + 1):
        weak_side, icl_side = (answer(side, asked, k=x.stage1.samples) for side in sides)
        agreed = agree(
            weak=weak_side, icl=icl_side, exclude=shown, rule=rule, consistency=x.stage1.consistency
        )
        tuned = {side: Answerer(tune(responses=agreed, side=side)) for side in ("weak", "icl", "hybrid")}
        models |= {f"{side}_ft_{i}": model for side, model in tuned.items()}
        sets = {f"weak_{i - 1}": weak_side, f"icl_{i - 1}": icl_side, f"agreed_{i}": agreed} | sets
        sides = (tuned["weak"], tuned["icl"])
        tuned_first = tuned_first or (agreed, tuned["icl"].model)
    m_plus = tuned["hybrid"]

    # Stage II: contrastive pairs by the confidence of M_plus, then preference training from M_plus (section 3.2).
    votes = answer(m_plus, asked, k=x.stage2.samples, temperature=x.stage2.temperature)
    pairs = contrast(
        weak=d_weak,
        samples=votes,
        exclude=shown,
        rule=rule,
        keep=x.stage2.keep,
        flip=x.stage2.flip,
        per_question=x.stage2.per_question,
        seed=x.seed,
    )
    for method in x.stage2.methods:
        settings = x.training(getattr(x.stage2, method))
        models[method] = Answerer(
            prefer(
                model=m_plus.model,
                questions=asked,
                pairs=pairs,
                method=method,
                settings=settings,
                seed=x.seed,
            )
        )

    # What gold answers would have given: the ceiling, and the comparisons that make the claims testable.
    models["ceiling"] = Answerer(tune(responses=given.gold["train_2"], side="solution"))
    if x.controls and tuned_first:
        models |= _controls(given, tune, d_icl, shown, *tuned_first, seed=x.seed)
    return _evaluate(x, given, models, sets, votes, pairs)


def _answer(x: Experiment, who: Answerer, asked: Handle, k: int = 1, temperature: float = 1.0) -> Handle:
    """One greedy answer a question, or k sampled ones."""
    drawn = {"n": k, "temperature": temperature, "seed": x.seed} if k > 1 else {}
    return sample(
        model=who.model,
        questions=asked,
        demonstrations=who.demonstrations,
        max_new_tokens=x.max_new_tokens,
        engine=x.sampling_engine,
        precision=x.precision,
        **drawn,
    )


def _controls(
    given: Inputs,
    tune: Callable[..., Handle],
    d_icl: Handle,
    shown: Handle,
    agreed: Handle,
    icl_ft: Handle,
    seed: int,
) -> dict[str, Answerer]:
    """What icl-ft of iteration 1 is to be held against, each trained for exactly as many steps."""
    alike = random_subset(responses=d_icl, like=agreed, exclude=shown, seed=seed)
    gold = on_same_questions(responses=given.gold["train_2"], like=agreed)
    return {
        "icl_all": Answerer(tune(responses=d_icl, exclude=shown, steps_of=icl_ft)),
        "random_subset": Answerer(tune(responses=alike, steps_of=icl_ft)),
        "gold_on_agreed": Answerer(tune(responses=gold, side="solution", steps_of=icl_ft)),
    }


def _evaluate(
    x: Experiment,
    given: Inputs,
    models: dict[str, Answerer],
    sets: dict[str, Handle],
    votes: Handle,
    pairs: Handle,
) -> dict[str, Handle]:
    """Grades of every model, of every labelled set, of the votes and of both sides of the pairs."""
    marked = partial(grade, rule=given.answer_rule)
    results = {}
    last = x.stage1.iterations
    sampled = {f"icl_ft_{last}", f"hybrid_ft_{last}", "ceiling", *x.stage2.methods}
    for split in x.evaluation.splits:
        asked, gold = given.questions[split], given.gold[split]
        for name, who in models.items():
            results[f"greedy/{split}/{name}"] = marked(responses=_answer(x, who, asked), gold=gold)
            if name in sampled and x.evaluation.samples:
                drawn = _answer(x, who, asked, k=x.evaluation.samples, temperature=x.evaluation.temperature)
                results[f"samples/{split}/{name}"] = marked(responses=drawn, gold=gold)
    gold = given.gold["train_2"]
    for name, labelled in sets.items():
        side = "weak" if name.startswith("agreed") else "responses"
        results[f"labels/{name}"] = marked(responses=labelled, gold=gold, side=side)
    for side in ("chosen", "rejected"):
        results[f"labels/pairs_{side}"] = marked(responses=pairs, gold=gold, side=side)
    results["vote"] = marked(responses=votes, gold=gold)
    return results | {"pairs": pairs}
