"""pass@k and maj@k against enumeration of all draws, as unbiased estimates, and by identities that must hold."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle_evaluation as ev
from w2s_core.errors import UserError
from w2s_core.statistics.scores import pass_at_k

Response = tuple[str | None, str]
RESPONSES: list[Response] = [
    ("7", "right"),
    ("7.0", "right"),
    ("8", "wrong"),
    ("9", "wrong"),
    ("2^9", "timed_out"),
    (None, "unparsed"),
]
rows_of = st.lists(st.sampled_from(RESPONSES), min_size=3, max_size=7)
tables = st.lists(rows_of, min_size=1, max_size=3)


def graded(responses: Sequence[Response], level: int | None = 1) -> dict[str, Any]:
    return {
        "id": "test-00001",
        "level": level,
        "template": "t",
        "answers": [answer for answer, _ in responses],
        "verdicts": [verdict for _, verdict in responses],
        "tokens": [5] * len(responses),
        "finish": ["eos"] * len(responses),
    }


def passes(draw: Sequence[Response]) -> Fraction:
    return Fraction(any(verdict == "right" for _, verdict in draw))


def majority(draw: Sequence[Response]) -> Fraction:
    """1 over the number of most frequent answers if the right one is among them; its spellings are one answer."""
    votes = Counter("RIGHT" if v == "right" else answer for answer, v in draw if answer is not None)
    if not votes:
        return Fraction(0)
    most = max(votes.values())
    top = [answer for answer, count in votes.items() if count == most]
    return Fraction("RIGHT" in top, len(top))


def over_all_draws(rule: Any, rows: Sequence[Sequence[Response]], k: int) -> Fraction:
    means = []
    for row in rows:
        draws = list(itertools.combinations(row, k))
        means.append(sum((rule(draw) for draw in draws), Fraction(0)) / len(draws))
    return sum(means, Fraction(0)) / len(means)


@given(tables, st.integers(1, 3))
def test_means_over_questions_are_those_of_all_draws(rows: list[list[Response]], k: int) -> None:
    grades = [graded(row) for row in rows]
    assert ev.mean_pass_at_k(grades, k) == pytest.approx(float(over_all_draws(passes, rows, k)), abs=1e-12)
    assert ev.mean_maj_at_k(grades, k) == pytest.approx(float(over_all_draws(majority, rows, k)), abs=1e-12)


@given(st.integers(1, 15), st.data(), st.floats(0, 1))
def test_pass_at_k_is_unbiased(n: int, data: st.DataObject, p: float) -> None:
    """Averaged over the binomial count of right responses, it is 1 - (1 - p)^k for every p and n >= k."""
    k = data.draw(st.integers(1, n))
    mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-9)


def test_the_plug_in_estimate_would_be_biased() -> None:
    """What the unbiased form is for: 1 - (1 - c/n)^k falls short, so the test above can fail."""
    n, k, p = 10, 5, 0.2
    plug_in = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * (1 - (1 - c / n) ** k) for c in range(n + 1))
    assert plug_in < 1 - (1 - p) ** k - 0.02


@settings(max_examples=25)
@given(st.lists(st.integers(1, 5), min_size=3, max_size=3), st.integers(3, 5), st.integers(1, 3))
def test_maj_at_k_is_unbiased(odds: list[int], n: int, k: int) -> None:
    """Averaged over n independent responses, it is the majority of k independent ones. Classes 0 (right), 1, silent."""
    chances = dict(zip((0, 1, None), (Fraction(one, sum(odds)) for one in odds), strict=True))

    def mean(size: int) -> float:
        total = 0.0
        for draw in itertools.product(chances, repeat=size):
            weight = math.prod(float(chances[one]) for one in draw)
            total += weight * ev.maj_at_k(draw, 0, k)
        return total

    assert mean(n) == pytest.approx(mean(k), abs=1e-9)


@given(st.integers(1, 40), st.data())
def test_pass_at_k_grows_with_k_and_c_from_accuracy_to_any(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    curve = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert curve == sorted(curve)
    assert curve[0] == pytest.approx(c / n)
    assert curve[-1] == float(c > 0)
    if c < n:
        k = data.draw(st.integers(1, n))
        assert pass_at_k(n, c + 1, k) >= pass_at_k(n, c, k)


classes_and_k = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=9).flatmap(
    lambda classes: st.tuples(st.just(classes), st.integers(1, len(classes)))
)


@given(classes_and_k)
def test_somebody_wins_each_vote_or_nobody_votes(case: tuple[list[int | None], int]) -> None:
    classes, k = case
    winners = sum(ev.maj_at_k(classes, one, k) for one in {c for c in classes if c is not None})
    nobody = math.comb(classes.count(None), k) / math.comb(len(classes), k)
    assert winners + nobody == pytest.approx(1, abs=1e-12)


@given(classes_and_k, st.randoms(use_true_random=False))
def test_order_and_names_of_classes_do_not_matter(case: tuple[list[int | None], int], random: Any) -> None:
    classes, k = case
    shuffled = [None if one is None else 10 - one for one in classes]
    random.shuffle(shuffled)
    assert ev.maj_at_k(shuffled, 10, k) == pytest.approx(ev.maj_at_k(classes, 0, k), abs=1e-12)


@given(rows_of)
def test_a_draw_of_one_is_accuracy_and_a_vote_never_beats_a_pass(row: list[Response]) -> None:
    grades = [graded(row)]
    assert ev.mean_pass_at_k(grades, 1) == pytest.approx(ev.accuracy(grades))
    assert ev.mean_maj_at_k(grades, 1) == pytest.approx(ev.accuracy(grades))
    for k in range(1, len(row) + 1):
        assert ev.mean_maj_at_k(grades, k) <= ev.mean_pass_at_k(grades, k) + 1e-12


def test_all_right_all_wrong_all_silent() -> None:
    for k in (1, 2, 5):
        assert ev.maj_at_k([0] * 5, 0, k) == pass_at_k(5, 5, k) == 1
        assert ev.maj_at_k([1] * 5, None, k) == ev.maj_at_k([None] * 5, None, k) == pass_at_k(5, 0, k) == 0


def test_ties_share_the_vote() -> None:
    assert ev.maj_at_k([0, 0, 1, 1], 0, 4) == 0.5
    assert ev.maj_at_k([0, 1, 2], 0, 3) == pytest.approx(1 / 3)
    assert ev.maj_at_k([0, 0, 1, 1, 2], 0, 5) == 0.5, "the class with one vote is not in the tie"


@given(st.lists(st.tuples(rows_of, st.sampled_from([1, 2, 3, None])), min_size=1, max_size=8))
def test_levels_add_up_to_accuracy(table: list[tuple[list[Response], int | None]]) -> None:
    grades = [graded(row, level) for row, level in table]
    found = ev.by_level(grades)
    share = Counter(level for _, level in table)
    assert sum(found[level] * count for level, count in share.items()) / len(table) == pytest.approx(
        ev.accuracy(grades)
    )


@given(st.lists(st.sampled_from(RESPONSES), max_size=8), st.integers(0, 5))
def test_precision_times_coverage_is_right_labels_over_questions(
    labels: list[Response], unlabelled: int
) -> None:
    asked = len(labels) + unlabelled
    found = ev.label_quality([graded([one, ("7", "right")]) for one in labels], asked)
    if labels:
        right = sum(verdict == "right" for _, verdict in labels)
        assert found.precision * found.coverage == pytest.approx(right / asked)
    else:
        assert math.isnan(found.precision)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_a_vote_of_more_responses_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(UserError, match="cannot be drawn") as error:
        ev.mean_maj_at_k([graded(RESPONSES[:3])], k)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be drawn"):
        ev.mean_pass_at_k([graded(RESPONSES[:3])], k)
