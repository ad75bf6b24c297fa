"""Which questions and which responses are learned from: agreement (section 3.1) and contrast (section 3.2). Pure.

Answers come as class numbers, equal numbers for equal answers and None for no answer (`grading.Grader.classes`): one
list holds the classes of both sides of a question, so that they can be compared.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from w2s_core.errors import UserError

Classes = Sequence[int | None]


@dataclass(frozen=True)
class Agreement:
    """A question that is kept: the share of agreeing pairs, and which response of each side is learned from."""

    share: float
    weak: int
    icl: int


@dataclass(frozen=True)
class Pair:
    """A contrastive pair: the weak response is its chosen or its rejected side, sample `sample` the other."""

    kind: Literal["weak_chosen", "weak_rejected"]
    sample: int


@dataclass(frozen=True)
class Contrast:
    """A pair of texts by their places: 0 is the weak response, i + 1 the i-th sample."""

    kind: Literal["weak_chosen", "weak_rejected"]
    chosen: int
    rejected: int


@dataclass(frozen=True)
class PairRule:
    """Thresholds of `contrast_question`, and the seed that draws samples.

    Raises:
        UserError: a threshold outside [0, 1], or per_question under 1.
    """

    keep: float = 0.6
    flip: float = 0.8
    per_question: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("keep", self.keep)
        _check_share("flip", self.flip)
        if self.per_question < 1:
            raise UserError(f"per-question must be at least 1, not {self.per_question}")


Outcome = Literal["paired", "majority_empty", "low_confidence", "no_contrast", "overruled_too_weakly"]


def agree_question(weak: Classes, icl: Classes, consistency: float = 1.0) -> Agreement | None:
    """Keep a question where both sides agree often enough; None where it is dropped.

    With one response a side and consistency 1 this is the paper's filter: keep where the two final answers are the
    same and not empty. With k a side, `share` is the share of the k x k pairs whose answers agree; the answer learned
    from is the one that most pairs agree on (the first to appear among equals), by each side's first response with it.

    Raises:
        UserError: a threshold outside [0, 1].
    """
    _check_share("consistency", consistency)
    pairs = {answer: weak.count(answer) * icl.count(answer) for answer in weak if answer is not None}
    agreeing = sum(pairs.values())
    if not agreeing or agreeing < consistency * len(weak) * len(icl) - 1e-9:
        return None
    best = max(pairs, key=lambda answer: pairs[answer])
    return Agreement(agreeing / (len(weak) * len(icl)), weak.index(best), icl.index(best))


def majority(classes: Classes) -> tuple[int | None, float]:
    """The commonest answer, which may be None, and its share (the confidence). The first to appear wins a tie."""
    if not classes:
        raise ValueError("a vote needs at least one sample")
    counts = {answer: classes.count(answer) for answer in classes}
    best = max(counts, key=lambda answer: counts[answer])
    return best, counts[best] / len(classes)


def contrast_texts(
    name: str, texts: Sequence[str], classes: Classes, rule: PairRule
) -> tuple[list[Contrast], Outcome]:
    """The pairs of one question from its texts: the weak response, then the samples; and why there are none.

    Which samples are drawn hangs on the rule's seed and the question's name alone.
    """
    pairs, outcome = contrast_question(
        classes[0],
        classes[1:],
        keep=rule.keep,
        flip=rule.flip,
        per_question=rule.per_question,
        rng=random.Random(f"contrast-{rule.seed}-{name}"),
        texts=texts[1:],
    )
    return [_contrast(pair) for pair in pairs], outcome


def _contrast(pair: Pair) -> Contrast:
    weak, sample = 0, pair.sample + 1
    sides = (weak, sample) if pair.kind == "weak_chosen" else (sample, weak)
    return Contrast(pair.kind, *sides)


def contrast_question(
    weak: int | None,
    samples: Classes,
    *,
    keep: float = 0.6,
    flip: float = 0.8,
    per_question: int = 1,
    rng: random.Random,
    texts: Sequence[str] | None = None,
) -> tuple[list[Pair], Outcome]:
    """The contrastive pairs of a question (section 3.2), and why there are none where there are none.

    Dropped: a majority without answer, or a confidence under `keep`. If the weak answer is the majority's, the weak
    response is chosen over samples that disagree (none: too easy, dropped). Otherwise, at a confidence of at least
    `flip`, samples of the majority are chosen over the weak response. At most `per_question` pairs, samples at random.

    Args:
        texts: the samples' texts. A text that several samples share is drawn once, as the first of them.

    Raises:
        UserError: a threshold outside [0, 1], or per_question under 1.
    """
    PairRule(keep, flip, per_question)
    answer, confidence = majority(samples)
    if answer is None:
        return [], "majority_empty"
    if confidence < keep - 1e-9:
        return [], "low_confidence"
    if weak == answer:
        others = _distinct([i for i, sample in enumerate(samples) if sample != answer], texts)
        return _draw("weak_chosen", others, per_question, rng), "paired" if others else "no_contrast"
    if confidence < flip - 1e-9:
        return [], "overruled_too_weakly"
    agreeing = _distinct([i for i, sample in enumerate(samples) if sample == answer], texts)
    return _draw("weak_rejected", agreeing, per_question, rng), "paired"


def _distinct(places: list[int], texts: Sequence[str] | None) -> list[int]:
    """The places whose text stands at no earlier one."""
    if texts is None:
        return places
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(texts[place], place)
    return list(first.values())


def _draw(
    kind: Literal["weak_chosen", "weak_rejected"], places: list[int], count: int, rng: random.Random
) -> list[Pair]:
    return [Pair(kind, sample) for sample in sorted(rng.sample(places, min(count, len(places))))]


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name} must lie in [0, 1], not {value}")
