"""Calibration measures against scikit-learn, the definitions written out, and what must hold for any vote."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from w2s_core.errors import UserError
from w2s_core.statistics import Estimate, score, wilson
from w2s_core.statistics.calibration import (
    MEASURES,
    SIGNED,
    atom_accuracy,
    auroc,
    brier,
    calibration_atoms,
    calibration_changes,
    calibration_intervals,
    choose_threshold,
    expected_calibration_error,
    keep_above,
    measure,
    risk_coverage,
)

Floats = npt.NDArray[np.float64]
Votes = list[tuple[int, int]]
VOTES = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 1)), min_size=1, max_size=40)
"""Votes of the majority among ten samples, and whether its answer is right."""


def arrays(votes: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
    confidence = np.array([vote / 10 for vote, _ in votes], dtype=np.float64)
    return confidence, np.array([right for _, right in votes], dtype=np.float64)


def drawn(n: int, seeds: int = 1, seed: int = 0, shift: float = 0.1) -> tuple[Floats, Floats]:
    """Votes that are too sure of themselves by about `shift`, shape [seeds, questions]."""
    rng = np.random.default_rng(seed)
    confidence = rng.integers(3, 11, (seeds, n)) / 10
    right = rng.random((seeds, n)) < np.clip(confidence - shift, 0, 1)
    return confidence, right.astype(np.float64)


def calibration_interval(name: str, *answers: Any) -> Estimate:
    """One measure by itself."""
    return calibration_intervals([name], *answers)[name]


# Against other implementations


@given(VOTES)
def test_auroc_and_brier_are_those_of_scikit_learn(votes: Votes) -> None:
    confidence, right = arrays(votes)
    assert brier(confidence, right).score == pytest.approx(brier_score_loss(right, confidence), abs=1e-12)
    if 0 < right.mean() < 1:
        assert auroc(confidence, right) == pytest.approx(roc_auc_score(right, confidence), abs=1e-12)
    else:
        assert auroc(confidence, right) is None


@given(VOTES)
def test_ece_is_the_definition_written_out(votes: Votes) -> None:
    gaps = 0.0
    for vote in {vote for vote, _ in votes}:
        ours = [right for one, right in votes if one == vote]
        gaps += len(ours) / len(votes) * abs(sum(ours) / len(ours) - vote / 10)
    assert expected_calibration_error(*arrays(votes)) == pytest.approx(gaps, abs=1e-12)


def risk_by_orders(votes: Votes) -> Floats:
    """The risk among the first k, averaged over every order of the answers that goes by confidence."""
    atoms = [
        [right for vote, right in votes if vote == one] for one in sorted({v for v, _ in votes}, reverse=True)
    ]
    curves = []
    for orders in itertools.product(*(itertools.permutations(atom) for atom in atoms)):
        listed = [right for atom in orders for right in atom]
        curves.append([1 - sum(listed[:k]) / k for k in range(1, len(listed) + 1)])
    return np.mean(np.array(curves), axis=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(6, 10), st.integers(0, 1)), min_size=1, max_size=6))
def test_risk_is_expected_over_all_orders_within_the_atoms(votes: Votes) -> None:
    found = risk_coverage(*arrays(votes))
    assert found.risk == pytest.approx(risk_by_orders(votes), abs=1e-12)
    assert found.coverage == pytest.approx(np.arange(1, len(votes) + 1) / len(votes))
    assert found.aurc == pytest.approx(float(risk_by_orders(votes).mean()), abs=1e-12)
    oracle = sorted((right for _, right in votes), reverse=True)
    best = np.mean([1 - sum(oracle[:k]) / k for k in range(1, len(oracle) + 1)])
    assert found.excess == pytest.approx(found.aurc - best, abs=1e-12)


@given(VOTES)
def test_area_in_closed_form_is_the_mean_of_the_curve(votes: Votes) -> None:
    found = risk_coverage(*arrays(votes))
    assert found.aurc == pytest.approx(float(found.risk.mean()), abs=1e-9)


# What must hold for any vote


@given(VOTES)
def test_brier_is_reliability_less_resolution_plus_uncertainty(votes: Votes) -> None:
    found = brier(*arrays(votes))
    assert found.score == pytest.approx(found.reliability - found.resolution + found.uncertainty, abs=1e-12)
    assert min(found.reliability, found.resolution, found.uncertainty) >= 0
    assert found.resolution <= found.uncertainty + 1e-12


@given(VOTES)
def test_auroc_of_the_turned_confidence_is_what_is_left_of_one(votes: Votes) -> None:
    confidence, right = arrays(votes)
    forth, back = auroc(confidence, right), auroc(1 - confidence, right)
    assert (forth is None and back is None) or forth == pytest.approx(1 - (back or 0.0), abs=1e-12)


@given(VOTES, st.randoms(use_true_random=False))
def test_order_of_the_questions_and_whole_copies_change_nothing_but_aurc(votes: Votes, luck: object) -> None:
    shuffled = list(votes)
    luck.shuffle(shuffled)  # type: ignore[attr-defined]
    for name in MEASURES:
        first = measure(name, *arrays(votes))
        assert measure(name, *arrays(shuffled)) == pytest.approx(first, abs=1e-12, nan_ok=True)
        if "aurc" not in name:
            assert measure(name, *arrays(votes * 3)) == pytest.approx(first, abs=1e-12, nan_ok=True)


@given(VOTES)
def test_an_atom_as_right_as_it_is_sure_adds_no_error(votes: Votes) -> None:
    """Of the ten answers of an atom v/10, exactly v are right."""
    confidence = np.repeat([vote / 10 for vote, _ in votes], 10)
    right = np.concatenate([np.arange(10) < vote for vote, _ in votes])
    assert expected_calibration_error(confidence, right) == pytest.approx(0, abs=1e-12)
    assert measure("overconfidence", confidence, right) == pytest.approx(0, abs=1e-12)
    assert brier(confidence, right).reliability == pytest.approx(0, abs=1e-12)


@given(VOTES)
def test_overconfidence_is_never_further_from_zero_than_the_error(votes: Votes) -> None:
    signed = measure("overconfidence", *arrays(votes))
    assert abs(signed) <= expected_calibration_error(*arrays(votes)) + 1e-12


@given(st.lists(st.integers(0, 1), min_size=1, max_size=30))
def test_an_oracle_order_has_no_excess_and_the_reverse_the_most(hits: list[int]) -> None:
    right = np.array(hits, dtype=np.float64)
    best, worst = risk_coverage(0.2 + 0.6 * right, right), risk_coverage(0.8 - 0.6 * right, right)
    assert best.excess == pytest.approx(0, abs=1e-12)
    assert worst.excess >= risk_coverage(np.full(len(hits), 0.5), right).excess - 1e-12
    if 0 < right.mean() < 1:
        assert auroc(0.2 + 0.6 * right, right) == 1.0
        assert auroc(0.8 - 0.6 * right, right) == 0.0


@given(VOTES)
def test_a_vote_that_knows_nothing_has_its_error_rate_as_risk_everywhere(votes: Votes) -> None:
    _, right = arrays(votes)
    found = risk_coverage(np.full(len(right), 0.7), right)
    assert found.risk == pytest.approx(np.full(len(right), 1 - right.mean()), abs=1e-12)
    assert auroc(np.full(len(right), 0.7), right) in (None, 0.5)


# Atoms


def test_atoms_count_each_value_once_however_it_was_computed() -> None:
    at = calibration_atoms([0.1 + 0.2, 0.3, 1.0, 0.3], [1, 0, 1, 1])
    assert at.values.tolist() == [0.3, 1.0]
    assert at.counts.tolist() == [[2, 1], [1, 0]]
    assert at.n.tolist() == [3, 1]
    assert len(calibration_atoms([0.3, 0.3 + 2e-10], [1, 0]).values) == 1
    assert len(calibration_atoms([0.3, 0.3 + 2e-9], [1, 0]).values) == 2


@given(VOTES)
def test_accuracy_of_an_atom_has_about_the_interval_of_wilson(votes: Votes) -> None:
    """The same up to Student's quantile and n / (n - 1); exactly the same where all answers are alike."""
    found = atom_accuracy(*arrays(votes))
    assert sum(one.n for one in found) == len(votes)
    for one in found:
        ours = [right for vote, right in votes if vote / 10 == pytest.approx(one.confidence)]
        plain = wilson(sum(ours), len(ours))
        assert (one.n, one.accuracy.value) == (len(ours), pytest.approx(plain.value))
        assert 0 <= one.accuracy.low <= one.accuracy.value <= one.accuracy.high <= 1
        if plain.value in (0.0, 1.0):
            assert (one.accuracy.low, one.accuracy.high) == pytest.approx((plain.low, plain.high))


def test_interval_of_an_atom_nears_that_of_wilson_and_widens_where_templates_answer_alike() -> None:
    confidence, right = drawn(4000)
    for one in atom_accuracy(confidence[0], right[0]):
        plain = wilson(round(one.accuracy.value * one.n), one.n)
        assert (one.accuracy.low, one.accuracy.high) == pytest.approx((plain.low, plain.high), abs=1e-3)
    copied = [np.repeat(part[0, :1000], 4) for part in (confidence, right)]
    templates = np.repeat(np.arange(1000), 4).tolist()
    alone = atom_accuracy(confidence[0, :1000], right[0, :1000])
    together = atom_accuracy(*copied, templates)
    for one, four in zip(alone, together, strict=True):
        assert four.n == 4 * one.n
        assert (four.accuracy.low, four.accuracy.high) == pytest.approx((one.accuracy.low, one.accuracy.high))


# Intervals


def delong_se(confidence: Floats, right: Floats) -> float:
    """DeLong's standard error of AUROC (1988), written out."""
    wins = np.array(
        [
            [0.5 * (a == b) + (a > b) for b in confidence[right == 0].tolist()]
            for a in confidence[right == 1].tolist()
        ]
    )
    of_right, of_wrong = wins.mean(axis=1), wins.mean(axis=0)
    return math.sqrt(of_right.var(ddof=1) / len(of_right) + of_wrong.var(ddof=1) / len(of_wrong))


def test_standard_error_of_auroc_is_that_of_delong() -> None:
    confidence, right = drawn(400)
    found = calibration_interval("auroc", confidence, right)
    assert found.se == pytest.approx(delong_se(confidence[0], right[0]), rel=0.01)
    assert found.low < roc_auc_score(right[0], confidence[0]) < found.high


def test_standard_error_of_brier_is_that_of_a_mean() -> None:
    confidence, right = drawn(300)
    losses = (confidence[0] - right[0]) ** 2
    found = calibration_interval("brier", confidence, right)
    assert found.se == pytest.approx(losses.std(ddof=1) / math.sqrt(300), rel=1e-3)


@pytest.mark.parametrize("name", MEASURES)
def test_intervals_hold_the_value_repeat_and_stay_where_the_measure_lies(name: str) -> None:
    confidence, right = drawn(60, seeds=3)
    templates = [i // 3 for i in range(60)]
    found = calibration_interval(name, confidence, right, templates)
    assert found == calibration_interval(name, confidence, right, templates)
    assert found.value == pytest.approx(measure(name, confidence, right))
    assert found.low <= found.value <= found.high
    assert (found.n, found.seeds, found.clusters) == (60, 3, 20)
    assert name in SIGNED or found.low >= 0


@pytest.mark.parametrize("name", MEASURES)
def test_measures_of_many_resamples_are_those_of_each(name: str) -> None:
    rng = np.random.default_rng(0)
    values, counts = np.array([0.2, 0.5, 0.9]), rng.random((4, 5, 2, 3)) * rng.integers(0, 2, (4, 5, 2, 3))
    together = MEASURES[name](values, counts)
    assert together.shape == (4, 5)
    for at in np.ndindex(4, 5):
        assert together[at] == pytest.approx(float(MEASURES[name](values, counts[at])), nan_ok=True)


@pytest.mark.parametrize("name", MEASURES)
def test_an_atom_that_no_resample_drew_changes_nothing(name: str) -> None:
    values, counts = np.array([0.2, 0.5, 0.9]), np.array([[2.0, 0.0, 5.5], [1.0, 0.0, 0.5]])
    whole = float(MEASURES[name](values, counts))
    assert whole == pytest.approx(float(MEASURES[name](values[[0, 2]], counts[:, [0, 2]])))


def test_an_interval_ends_at_zero_where_chance_would_reach_below() -> None:
    confidence, right = drawn(12, seeds=2, shift=0.0)
    found = calibration_interval("reliability", confidence, right)
    assert found.value - found.spread.reach() < 0, "a symmetric interval would"
    assert found.low == 0


def test_an_interval_ends_at_one_where_chance_would_reach_above() -> None:
    confidence, right = np.repeat([0.3, 0.9, 1.0], [6, 6, 1]), np.repeat([0.0, 1.0, 0.0], [6, 6, 1])
    area = calibration_interval("auroc", confidence, right)
    assert area.value + area.spread.reach() > 1, "a symmetric interval would"
    assert area.high == 1


def test_overconfidence_may_be_negative() -> None:
    confidence, right = drawn(400, shift=-0.2)
    signed = calibration_interval("overconfidence", confidence, right)
    assert signed.low < signed.value < signed.high < 0


def test_copies_of_a_question_in_its_template_make_no_interval_shorter() -> None:
    confidence, right = drawn(150)
    alone = calibration_interval("auroc", confidence, right)
    copied = [np.repeat(part, 4, axis=1) for part in (confidence, right)]
    together = calibration_interval("auroc", *copied, np.repeat(np.arange(150), 4).tolist())
    assert (together.value, together.se) == pytest.approx((alone.value, alone.se))
    assert together.se > 1.5 * calibration_interval("auroc", *copied).se


def test_measures_that_share_their_resamples_are_as_each_by_itself() -> None:
    before, after, templates = drawn(60, 3), drawn(60, 3, seed=1), [i // 3 for i in range(60)]
    together = calibration_intervals(MEASURES, *before, templates)
    changes = calibration_changes(MEASURES, before, after, templates)
    for name in MEASURES:
        assert together[name] == calibration_interval(name, *before, templates)
        assert changes[name] == calibration_changes([name], before, after, templates)[name]


def test_interval_of_auroc_covers_the_truth_about_as_often_as_it_says() -> None:
    """Templates of three questions that share their luck in part; the truth is that of a very large sample."""
    truth, hits, tries = 0.0, 0, 120
    for trial in range(-1, tries):
        rng = np.random.default_rng(trial + 1000)
        groups = 40000 if trial < 0 else 60
        confidence = np.repeat(rng.integers(3, 11, groups), 3) / 10
        luck = np.where(
            rng.random(3 * groups) < 0.5, np.repeat(rng.random(groups), 3), rng.random(3 * groups)
        )
        right = (luck < confidence).astype(np.float64)
        if trial < 0:
            truth = auroc(confidence, right) or 0.0
            continue
        templates = np.repeat(np.arange(groups), 3).tolist()
        found = calibration_interval("auroc", confidence, right, templates)
        hits += found.low <= truth <= found.high
    assert 0.89 * tries <= hits <= 0.995 * tries


def test_a_change_is_paired() -> None:
    """Both systems answer the same questions: a change's interval is shorter than those of its two ends."""
    confidence, right = drawn(300)
    surer = np.minimum(1.0, confidence + 0.1)
    found = calibration_changes(["brier"], (confidence, right), (surer, right))["brier"]
    losses = (surer - right)[0] ** 2 - (confidence - right)[0] ** 2
    assert found.value == pytest.approx(losses.mean())
    assert found.se == pytest.approx(losses.std(ddof=1) / math.sqrt(300), rel=1e-3)
    assert found.se < calibration_interval("brier", confidence, right).se
    templates = [i // 3 for i in range(300)]
    grouped = calibration_changes(["brier"], (confidence, right), (surer, right), templates)["brier"]
    assert (grouped.value, grouped.clusters) == (pytest.approx(found.value), 100)
    same = calibration_changes(["ece"], (confidence, right), (confidence, right))["ece"]
    assert same.value == 0
    assert same.p == 1.0


# Thresholds


def test_threshold_keeps_most_among_those_whose_precision_is_sure_enough() -> None:
    confidence, right = drawn(2000, shift=0.0)
    chosen = choose_threshold(confidence, right, 0.8)
    assert chosen is not None
    ends = {t / 10: keep_above(confidence, right, t / 10).precision.low for t in range(3, 11)}
    assert chosen.threshold == min(t for t, low in ends.items() if low >= 0.8)
    assert chosen.coverage == pytest.approx((confidence >= chosen.threshold).mean())
    assert chosen.precision.value == pytest.approx(right[confidence >= chosen.threshold].mean())


def test_a_target_that_an_interval_just_reaches_is_reached() -> None:
    confidence, right = drawn(200, shift=0.0)
    kept = keep_above(confidence, right, 0.6)
    assert choose_threshold(confidence, right, kept.precision.low) == kept
    assert choose_threshold(confidence, right, 1.0) is None


def test_a_few_lucky_answers_reach_no_target() -> None:
    confidence, right = [0.5] * 40 + [1.0] * 3, [0] * 20 + [1] * 23
    assert keep_above(confidence, right, 1.0).precision.value == 1.0
    assert choose_threshold(confidence, right, 0.9) is None
    assert choose_threshold(confidence, right, 0.0) == keep_above(confidence, right, 0.5)


def test_a_threshold_above_all_keeps_nothing() -> None:
    kept = keep_above([0.5, 0.9], [1, 1], 0.95)
    assert kept.coverage == 0
    assert math.isnan(kept.precision.value)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_threshold_below_all_has_the_precision_of_a_score(seeds: int) -> None:
    confidence, right = drawn(60, seeds)
    templates = [i // 3 for i in range(60)]
    precision, whole = keep_above(confidence, right, 0.0, templates).precision, score(right, templates)
    for name in ("value", "low", "high", "se", "n", "seeds", "clusters"):
        assert getattr(precision, name) == pytest.approx(getattr(whole, name)), name


def test_threshold_counts_its_own_atom_whatever_its_last_digit() -> None:
    assert keep_above([0.3, 0.2], [1, 0], 0.1 + 0.2).coverage == 0.5


# Edges


def test_nothing_gives_no_numbers() -> None:
    assert all(math.isnan(measure(name, [], [])) for name in MEASURES)
    assert math.isnan(calibration_interval("ece", [], []).value)
    assert atom_accuracy([], []) == []
    assert auroc([], []) is None
    assert choose_threshold([], [], 0.5) is None
    kept = keep_above([], [], 0.5)
    assert math.isnan(kept.coverage)
    assert (kept.precision.n, kept.precision.seeds, kept.precision.clusters) == (0, 1, 0)
    assert len(risk_coverage([], []).risk) == 0
    assert math.isnan(risk_coverage([], []).aurc)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_all_alike_has_no_auroc_and_no_excess(right: float) -> None:
    confidence, hits = [0.5, 0.7, 0.7, 1.0], [right] * 4
    assert auroc(confidence, hits) is None
    assert math.isnan(calibration_interval("auroc", confidence, hits).low)
    found = risk_coverage(confidence, hits)
    assert (found.aurc, found.excess) == pytest.approx((1 - right, 0), abs=1e-12)
    assert brier(confidence, hits).uncertainty == 0


def test_one_cluster_has_a_value_and_no_interval() -> None:
    confidence, right = drawn(30)
    found = calibration_interval("ece", confidence, right, ["t"] * 30)
    assert found.value == pytest.approx(expected_calibration_error(confidence, right))
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("confidence", "right", "says"),
    [
        ([0.5, 1.1], [0, 1], "outside"),
        ([0.5, -0.1], [0, 1], "outside"),
        ([0.5, math.nan], [0, 1], "outside"),
        ([0.5, 0.6], [0, 0.5], "0 or 1"),
        ([0.5], [0, 1], "one shape"),
        ([[[0.5]]], [[[1]]], "one shape"),
    ],
)
def test_what_is_no_vote_is_refused_in_one_line(confidence: list[float], right: list[int], says: str) -> None:
    for use in (brier, auroc, risk_coverage, atom_accuracy):
        with pytest.raises(UserError, match=says):
            use(confidence, right)  # type: ignore[operator]


def test_other_mistakes_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="unknown measure 'mce'; known: accuracy, overconfidence, "):
        calibration_interval("mce", [0.5], [1])
    for target in (90, 1.5, -0.1):
        with pytest.raises(UserError, match=rf"must lie in \[0, 1\], not {target}"):
            choose_threshold([0.5], [1], target)
    with pytest.raises(UserError, match="not the same"):
        calibration_changes(["ece"], ([0.5], [1]), ([0.5, 0.6], [1, 1]))["ece"]
    with pytest.raises(UserError, match="1 labels for 2"):
        calibration_interval("ece", [0.5, 0.6], [1, 0], ["t"])
