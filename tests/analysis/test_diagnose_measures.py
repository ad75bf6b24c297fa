"""The measures behind `w2s diagnose` equal counting by hand, the definition, and scikit-learn."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.planted import FAULTS, by_signature, group_of, known, plant_all, raw, row
from tests.analysis.synthetic import TinyStore
from w2s_analysis.weak_to_strong import diagnose_measures as measures
from w2s_analysis.weak_to_strong.diagnose import diagnose
from w2s_analysis.weak_to_strong.diagnose_measures import (
    halves_of,
    hard_over_easy,
    kept_and_dropped,
    purity_gap,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return plant_all(tmp_path_factory.mktemp("diagnose"))


def test_what_agreement_keeps_is_counted(store: TinyStore) -> None:
    for run in ("healthy", "easy", "impure", "rare"):
        group, agreed = group_of(store, run), raw(store, run, "labels/agreed_2")
        asked = raw(store, run, "labels/weak_1")
        assert known(measures.agreement(group)).value == pytest.approx(len(agreed) / len(asked))
        share, precision = [], []
        for levels in ((1, 2, 3), (4, 5, 6)):
            kept = [graded for graded in agreed if graded["level"] in levels]
            share.append(len(kept) / sum(graded["level"] in levels for graded in asked))
            precision.append(sum(graded["verdicts"] == ["right"] for graded in kept) / len(kept))
        assert known(hard_over_easy(group)).value == pytest.approx(share[1] / share[0])
        gap = known(purity_gap(group))
        assert gap.value == pytest.approx(precision[0] - precision[1])
        assert (gap.n, gap.clusters) == (len(agreed), len({graded["template"] for graded in agreed}))


def test_an_interval_of_what_is_kept_covers_the_truth_as_often_as_it_says(tmp_path: Path) -> None:
    """Harder questions are kept 0.3 / 0.6 as often; questions of one template share their luck."""
    covered = 0
    for trial in range(60):
        store, rng = TinyStore(tmp_path / str(trial)), np.random.default_rng(trial)
        asked = [row(i, ["7"], [True]) | {"template": f"t{i // 12}"} for i in range(240)]
        luck = {f"t{i}": rng.random() for i in range(20)}
        kept = [
            graded
            for graded in asked
            if (luck[graded["template"]] if rng.random() < 0.5 else rng.random())
            < (0.6 if graded["level"] < 4 else 0.3)
        ]
        keys = {
            f"labels/{name}": store.put(name, "grades.parquet", rows)
            for name, rows in {"weak_0": asked, "agreed_1": kept}.items()
        }
        store.refs.records["run"] = {"weak": "w", "strong": "s", "task": "mini", "seed": 0, "targets": keys}
        result = known(hard_over_easy(group_of(store, "run")))
        covered += result.low <= 0.5 <= result.high
    assert covered >= 51


def test_a_question_twice_under_one_template_tells_no_more_than_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    asked = [row(i, ["7"], [True]) for i in range(120)]
    kept = [graded for graded in asked if rng.random() < (0.6 if graded["level"] < 4 else 0.3)]
    store, estimates = TinyStore(tmp_path), {}
    for name, copies in (("once", ("",)), ("twice", ("a", "b"))):
        sets = {"weak_0": asked, "agreed_1": kept}
        rows = {
            label: [graded | {"id": graded["id"] + copy} for graded in rows_of for copy in copies]
            for label, rows_of in sets.items()
        }
        keys = {
            f"labels/{label}": store.put(f"{name}-{label}", "grades.parquet", rows_of)
            for label, rows_of in rows.items()
        }
        store.refs.records[name] = {"weak": "w", "strong": "s", "task": "mini", "seed": 0, "targets": keys}
        estimates[name] = known(hard_over_easy(group_of(store, name)))
    once, twice = estimates["once"], estimates["twice"]
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert (once.n, twice.n, once.clusters, twice.clusters) == (120, 240, 120, 120)


def test_levels_are_halved_by_number() -> None:
    result = halves_of([1, 2, 3, None, "x", 3, 1])
    assert result is not None
    assert [mask.tolist() for mask in result] == [
        [True, False, False, False, False, False, True],
        [False, True, True, False, False, True, False],
    ]
    assert halves_of([2, 2, None]) is None
    assert halves_of([]) is None


def test_shared_errors_are_counted_against_chance(store: TinyStore) -> None:
    weak, icl = (
        {graded["id"]: graded for graded in raw(store, "shared", f"labels/{x}_0")} for x in ("weak", "icl")
    )
    both = [name for name in weak if weak[name]["verdicts"] == icl[name]["verdicts"] == ["wrong"]]
    same = sum(weak[name]["answers"] == icl[name]["answers"] for name in both) / len(both)
    chance = 0.0  # by the definition, one question and one other after the other
    for name in both:
        peers = [other for other in both if icl[other]["level"] == weak[name]["level"] and other != name]
        chance += sum(icl[x]["answers"] == weak[name]["answers"] for x in peers) / len(peers) / len(both)
    assert known(measures.shared_errors(group_of(store, "shared"))).value == pytest.approx(same - chance)


def test_the_vote_is_measured_as_by_counting_and_by_scikit_learn(store: TinyStore) -> None:
    from sklearn.metrics import roc_auc_score

    rows = raw(store, "oversure", "vote")
    majority = [Counter(graded["answers"]).most_common(1)[0] for graded in rows]
    sure = np.array([times / 10 for _, times in majority])
    right = np.array([answer == "7" for answer, _ in majority])
    by_name = by_signature(diagnose(store, "oversure"))
    assert known(by_name["the vote is miscalibrated"].effect).value == pytest.approx(
        sure.mean() - right.mean()
    )
    ece = sum(
        (at := sure == value).mean() * abs(right[at].mean() - value) for value in np.unique(sure).tolist()
    )
    assert f"ECE {100 * ece:.1f} %" in by_name["the vote is miscalibrated"].evidence
    ranked = by_name["confidence does not tell right from wrong"]
    assert known(ranked.effect).value == pytest.approx(roc_auc_score(right, sure))
    kept = [hit for share, hit in zip(sure, right, strict=True) if share >= 0.6]
    dropped = [hit for share, hit in zip(sure, right, strict=True) if share < 0.6]
    expected = (
        f"of {len(kept)} kept {100 * sum(kept) / len(kept):.1f} % right, "
        f"of {len(dropped)} dropped {100 * sum(dropped) / len(dropped):.1f} % right"
    )
    assert kept_and_dropped(group_of(store, "oversure")) == f"at stage2.keep 0.6: {expected}"


def test_sides_lengths_and_gains_are_counted(store: TinyStore) -> None:
    def share(run: str, label: str) -> float:
        rows = raw(store, run, label)
        return sum(graded["verdicts"] == ["right"] for graded in rows) / len(rows)

    def value(run: str, signature: str) -> float:
        return known(by_signature(diagnose(store, run))[signature].effect).value

    assert value("chosen", FAULTS["chosen"]) == pytest.approx(1 - share("chosen", "labels/pairs_chosen"))
    assert value("rejected", FAULTS["rejected"]) == pytest.approx(share("rejected", "labels/pairs_rejected"))
    assert value("pair_length", FAULTS["pair_length"]) == pytest.approx(2.0)
    assert value("length", FAULTS["length"]) == pytest.approx(2.0)
    for run, second, first in (
        ("later", "hybrid_ft_2", "hybrid_ft_1"),
        ("overfit", "dpo", "hybrid_ft_2"),
        ("no_gain", "hybrid_ft_2", "weak_floor"),
        ("elicited", "hybrid_ft_2", "weak_icl"),
    ):
        difference = share(run, f"greedy/test/{second}") - share(run, f"greedy/test/{first}")
        assert value(run, FAULTS[run]) == pytest.approx(difference)
