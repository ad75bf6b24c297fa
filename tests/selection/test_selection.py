"""Selection against the paper's rules one by one, and against a slow implementation that says them plainly."""

import random
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.errors import UserError
from w2s_core.selection import (
    Pair,
    PairRule,
    agree_question,
    contrast_question,
    contrast_texts,
    majority,
)

CLASSES = st.none() | st.integers(0, 3)
SIDES = st.lists(CLASSES, min_size=1, max_size=7)
# shares of ten samples, where a threshold can be met exactly, and as floats they are not exact
TENTHS = st.integers(0, 10)


def rng() -> random.Random:
    return random.Random(7)


def contrast(weak, samples, **options):
    return contrast_question(weak, samples, rng=rng(), **options)


def votes(count: int, answer: int | None = 1, of: int = 10) -> list[int | None]:
    """`count` votes for an answer, and all others for answers of their own."""
    return [answer] * count + [100 + i for i in range(of - count)]


# Agreement (section 3.1) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weak", "icl", "kept"),
    [
        ([0], [0], True),
        ([0], [1], False),
        ([None], [None], False),
        ([0], [None], False),
        ([None], [0], False),
    ],
)
def test_the_papers_filter_keeps_the_same_answer_and_no_missing_one(weak, icl, kept):
    assert (agree_question(weak, icl) is not None) is kept


@given(SIDES, SIDES, TENTHS)
def test_agreement_is_that_of_counting_every_pair(weak, icl, tenths):
    kept = agree_question(weak, icl, tenths / 10)
    agreeing = [
        (i, j) for i, j in product(range(len(weak)), range(len(icl))) if weak[i] == icl[j] is not None
    ]
    share = Fraction(len(agreeing), len(weak) * len(icl))
    if not agreeing or share < Fraction(tenths, 10):
        assert kept is None
        return
    assert kept is not None
    assert kept.share == pytest.approx(float(share))
    answers = [weak[i] for i, _ in agreeing]
    most = max(answers.count(answer) for answer in answers)
    learned = next(answer for answer in weak if answer is not None and answers.count(answer) == most)
    assert weak[kept.weak] == icl[kept.icl] == learned
    assert learned not in weak[: kept.weak]
    assert learned not in icl[: kept.icl]


@given(SIDES, SIDES)
def test_a_higher_threshold_never_keeps_more(weak, icl):
    kept = [agree_question(weak, icl, tenths / 10) is not None for tenths in range(11)]
    assert kept == sorted(kept, reverse=True)


@pytest.mark.parametrize("agreeing", range(1, 11))
def test_a_share_that_is_exactly_the_threshold_is_kept(agreeing):
    weak, icl = votes(agreeing), [1]
    assert agree_question(weak, icl, agreeing / 10) is not None
    assert agree_question(votes(agreeing - 1), icl, agreeing / 10) is None


def test_a_threshold_of_zero_still_needs_an_answer_to_learn_from():
    assert agree_question([None, 0], [None, 1], 0.0) is None


def test_among_equally_agreed_answers_the_first_to_appear_is_learned():
    kept = agree_question([None, 2, 1, 1, 2], [1, 2], 0.0)
    assert kept is not None
    assert (kept.weak, kept.icl) == (1, 1)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(UserError, match="consistency"):
        agree_question([0], [0], threshold)
    with pytest.raises(UserError, match="keep"):
        contrast(0, votes(10), keep=threshold)
    with pytest.raises(UserError, match="flip"):
        contrast(0, votes(10), flip=threshold)


# The vote ----------------------------------------------------------------------------------------------------------


@given(SIDES)
def test_the_majority_has_most_votes_and_is_the_first_of_those(samples):
    answer, share = majority(samples)
    most = max(samples.count(one) for one in samples)
    assert samples.count(answer) == most
    assert all(samples.count(earlier) < most for earlier in samples[: samples.index(answer)])
    assert share == most / len(samples)


@pytest.mark.parametrize(
    ("samples", "winner"), [([2, 1, 1, 2], 2), ([1, 2, 2, 1], 1), ([None, 0, 0, None], None)]
)
def test_the_first_to_appear_wins_a_tie(samples, winner):
    assert majority(samples) == (winner, 0.5)


def test_a_vote_of_nobody_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="at least one"):
        majority([])


# Contrast (section 3.2) --------------------------------------------------------------------------------------------


def test_a_majority_without_answer_is_dropped_even_if_it_is_sure():
    assert contrast(1, votes(10, answer=None)) == ([], "majority_empty")
    assert contrast(None, votes(10, answer=None)) == ([], "majority_empty")


@pytest.mark.parametrize(
    ("confident", "outcome"), [(5, "low_confidence"), (6, "paired"), (9, "paired"), (10, "no_contrast")]
)
def test_a_right_weak_answer_is_chosen_over_a_sample_that_disagrees(confident, outcome):
    samples = votes(confident)
    pairs, why = contrast(1, samples)
    assert why == outcome
    assert [pair.kind for pair in pairs] == (["weak_chosen"] if outcome == "paired" else [])
    assert all(samples[pair.sample] != 1 for pair in pairs)


@pytest.mark.parametrize(
    ("confident", "outcome"),
    [
        (5, "low_confidence"),
        (6, "overruled_too_weakly"),
        (7, "overruled_too_weakly"),
        (8, "paired"),
        (10, "paired"),
    ],
)
@pytest.mark.parametrize("weak", [None, 2, 100])
def test_another_weak_answer_is_rejected_only_by_a_sure_majority(weak, confident, outcome):
    samples = votes(confident)
    pairs, why = contrast(weak, samples)
    assert why == outcome
    assert [pair.kind for pair in pairs] == (["weak_rejected"] if outcome == "paired" else [])
    assert all(samples[pair.sample] == 1 for pair in pairs)


def test_a_sample_without_answer_disagrees():
    assert contrast(1, [1] * 9 + [None]) == ([Pair("weak_chosen", 9)], "paired")


@pytest.mark.parametrize("of", [5, 10, 20, 25, 100])
def test_thresholds_that_are_met_exactly_count_as_met(of):
    keep, flip = of * 6 // 10, of * 8 // 10
    assert contrast(1, votes(keep, of=of))[1] == "paired"
    assert contrast(1, votes(keep - 1, of=of))[1] == "low_confidence"
    assert contrast(2, votes(flip, of=of))[1] == "paired"
    assert contrast(2, votes(flip - 1, of=of))[1] == "overruled_too_weakly"


def slow_contrast(weak, samples, keep: Fraction, flip: Fraction):
    """The rules in the paper's order: kind of pair, samples that qualify, outcome."""
    best = None
    for answer in samples:
        if best is None or samples.count(answer) > samples.count(best[0]):
            best = (answer,)
    (answer,) = best
    confidence = Fraction(samples.count(answer), len(samples))
    if answer is None:
        return None, set(), "majority_empty"
    if confidence < keep:
        return None, set(), "low_confidence"
    if weak == answer:
        others = {i for i in range(len(samples)) if samples[i] != answer}
        return "weak_chosen", others, "paired" if others else "no_contrast"
    if confidence < flip:
        return None, set(), "overruled_too_weakly"
    return "weak_rejected", {i for i in range(len(samples)) if samples[i] == answer}, "paired"


@given(
    CLASSES, st.lists(CLASSES, min_size=1, max_size=12), TENTHS, TENTHS, st.integers(1, 4), st.integers(0, 99)
)
def test_pairs_are_those_of_the_slow_rules(weak, samples, keep, flip, per_question, seed):
    pairs, why = contrast_question(
        weak, samples, keep=keep / 10, flip=flip / 10, per_question=per_question, rng=random.Random(seed)
    )
    kind, qualify, outcome = slow_contrast(weak, samples, Fraction(keep, 10), Fraction(flip, 10))
    assert why == outcome
    assert len(pairs) == min(per_question, len(qualify))
    assert {pair.kind for pair in pairs} <= {kind}
    drawn = [pair.sample for pair in pairs]
    assert set(drawn) <= qualify
    assert drawn == sorted(set(drawn))


def test_several_pairs_a_question_take_different_samples():
    pairs, _ = contrast(1, votes(6), per_question=3)
    assert len({pair.sample for pair in pairs}) == 3
    pairs, _ = contrast(1, votes(8), per_question=3)
    assert [pair.sample for pair in pairs] == [8, 9]


def test_the_choice_depends_on_the_rng_alone_and_every_sample_can_be_drawn():
    samples = votes(6)
    first = [contrast_question(1, samples, rng=random.Random(seed)) for seed in range(200)]
    again = [contrast_question(1, samples, rng=random.Random(seed)) for seed in range(200)]
    assert first == again
    assert {pairs[0].sample for pairs, _ in first} == {6, 7, 8, 9}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 9))
def test_no_pair_of_texts_is_written_twice(samples, per_question, seed):
    """A text has one answer, so samples of one text are of one class; every other text can still be drawn."""
    texts = ["weak", *(f"text {sample}" for sample in samples)]
    rule = PairRule(keep=0, flip=0, per_question=per_question, seed=seed)
    pairs, outcome = contrast_texts("question", texts, [0, *samples], rule)
    drawn = [(texts[pair.chosen], texts[pair.rejected]) for pair in pairs]
    assert len(set(drawn)) == len(drawn)
    if outcome == "paired" and majority(samples)[0] == 0:
        assert len(drawn) == min(per_question, len(set(samples) - {0}))
    for pair in pairs:
        assert (pair.chosen == 0) is (pair.kind == "weak_chosen")
        assert 0 in (pair.chosen, pair.rejected)


def test_pairs_of_texts_hang_on_seed_and_name_alone():
    texts, classes = ["weak", *(f"text {i}" for i in range(10))], [1, *votes(6)]
    rule = PairRule(per_question=2)
    assert contrast_texts("a", texts, classes, rule) == contrast_texts("a", texts, classes, rule)
    assert len({str(contrast_texts(name, texts, classes, rule)) for name in "abcdefgh"}) > 1


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_pair_a_question_is_refused(count):
    with pytest.raises(UserError, match="per-question"):
        contrast(1, votes(6), per_question=count)


@given(
    st.lists(st.integers(0, 2) | st.none(), min_size=2, max_size=8),
    st.sampled_from([0.0, 0.4, 0.6, 1.0]),
    st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_texts_of_a_question_give_the_pairs_of_its_classes(
    classes: list[int | None], keep: float, flip: float, per_question: int, seed: int
) -> None:
    """The draw hangs on the seed and the question's name; keys of stored pairs stand on just these."""
    texts = [f"text {i}" for i in range(len(classes))]
    rule = PairRule(keep, flip, per_question, seed)
    contrasts, outcome = contrast_texts("q7", texts, classes, rule)
    pairs, expected = contrast_question(
        classes[0],
        classes[1:],
        keep=keep,
        flip=flip,
        per_question=per_question,
        rng=random.Random(f"contrast-{seed}-q7"),
    )
    assert outcome == expected
    for contrast, pair in zip(contrasts, pairs, strict=True):
        sides = {"chosen": contrast.chosen, "rejected": contrast.rejected}
        weak_side = "chosen" if pair.kind == "weak_chosen" else "rejected"
        assert sides.pop(weak_side) == 0
        assert list(sides.values()) == [pair.sample + 1]


def test_thresholds_default_to_the_papers() -> None:
    assert PairRule() == PairRule(keep=0.6, flip=0.8, per_question=1, seed=0)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"keep": -0.01}, r"keep must lie in \[0, 1\]"),
        ({"flip": 1.01}, r"flip must lie in \[0, 1\]"),
        ({"per_question": 0}, "per-question must be at least 1"),
    ],
)
def test_a_threshold_out_of_range_is_named(rule: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PairRule(**rule)  # type: ignore[arg-type]


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_thresholds_at_the_edges_are_allowed(edge: float) -> None:
    assert PairRule(keep=edge, flip=edge, per_question=1)
    assert agree_question([1], [1], edge) is not None


def test_a_consistency_out_of_range_is_named() -> None:
    for consistency in (-0.1, 1.1):
        with pytest.raises(UserError, match=r"consistency must lie in \[0, 1\]"):
            agree_question([1], [1], consistency)


def test_the_majority_is_the_commonest_answer_and_the_first_of_a_tie() -> None:
    assert majority([2, 1, 1]) == (1, pytest.approx(2 / 3))
    assert majority([2, 1, 1, 2, 5]) == (2, pytest.approx(0.4))
    assert majority([5, 0, 0, 0, 5]) == (0, pytest.approx(0.6))
