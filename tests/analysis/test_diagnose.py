"""Each failure that is planted in a run is found, and nothing else is; measures equal counting by hand."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import diagnose_measures as measures
from analysis import diagnose_rules as rules
from analysis.diagnose import MEASURES, RULES, Finding, diagnose
from analysis.diagnose_measures import (
    halves_of,
    halves_of_log,
    hard_over_easy,
    kept_and_dropped,
    loss_halves,
    purity_gap,
)
from analysis.diagnose_text import as_json, render
from analysis.frame import load_frames
from analysis.groups import Group, make_groups
from analysis.results import read_parquet
from tests.analysis.synthetic import TinyStore
from tests.dashboard.stores import add_run
from w2s_core.engine import Store
from w2s_core.statistics import Estimate

N = 400
ACCURACY = {
    "weak_floor": 0.3, "weak_icl": 0.6, "hybrid_ft_1": 0.7, "hybrid_ft_2": 0.75, "dpo": 0.8, "ceiling": 0.95,
}  # fmt: skip
SHIFTED = {
    "later": {"hybrid_ft_1": 0.85},
    "overfit": {"dpo": 0.65},
    "no_gain": {"weak_icl": 0.2, "hybrid_ft_1": 0.25, "hybrid_ft_2": 0.3, "dpo": 0.35},
    "elicited": {"weak_icl": 0.9},
}
FAULTS = {
    "rare": "agreement is too rare",
    "impure": "agreement is precise on easy questions only",
    "easy": "agreement keeps easy questions only",
    "shared": "both sides make the same errors",
    "later": "the last iteration loses accuracy",
    "oversure": "the vote is miscalibrated",
    "unsure": "the vote is miscalibrated",
    "blind": "confidence does not tell right from wrong",
    "chosen": "the chosen side is often wrong",
    "rejected": "the rejected side is often right",
    "pair_length": "pairs differ in length",
    "length": "DPO: responses change in length",
    "overfit": "DPO: over-fitting",
    "no_gain": "the strong model learns nothing",
    "elicited": "training falls behind prompting",
}
FALLING = [(1, 0.69), (10, 0.66), (20, 0.5), (23, 0.3)]


def row(i: int, answers: list[str], right: list[bool], tokens: int = 40) -> dict[str, Any]:
    verdicts = ["right" if one else "wrong" for one in right]
    lengths, finish = [tokens] * len(answers), ["eos"] * len(answers)
    return {
        "id": f"q{i:04d}", "level": 1 + i % 6, "template": f"t{i}", "answers": answers, "verdicts": verdicts,
        "tokens": lengths, "finish": finish,
    }  # fmt: skip


def plant(store: TinyStore, fault: str = "", log: list[tuple[int, float]] | None = None) -> str:
    """A run of two iterations that is healthy but for one fault. Returns its name."""
    rng = np.random.default_rng(5)
    name = fault or "healthy"
    keys: dict[str, str] = {}
    luck = rng.random(N)
    for method, share in (ACCURACY | SHIFTED.get(fault, {})).items():
        tokens = 80 if (fault, method) == ("length", "dpo") else 40
        graded = [
            row(i, ["7" if luck[i] < share else "8"], [bool(luck[i] < share)], tokens) for i in range(N)
        ]
        keys[f"greedy/test/{method}"] = store.put(f"{name}-{method}", "grades.parquet", graded)
    keys |= labels(store, name, fault, rng) | pairs(store, name, fault, rng)
    keys["vote"] = store.put(f"{name}-vote", "grades.parquet", [vote(i, fault, rng) for i in range(N)])
    entries = [{"step": step, "loss": loss} for step, loss in log or FALLING]
    (store.root / f"{name}-prefer-dpo").mkdir()
    (store.root / f"{name}-prefer-dpo" / "training.json").write_text(json.dumps({"log": entries}))
    store.refs.records[name] = {
        "run": name, "weak": "llama", "strong": "strong", "task": "mini", "seed": 0, "targets": keys,
        "steps": {"prefer:dpo": f"{name}-prefer-dpo"}, "questions": {"train_2": N},
        "experiment": {"seed": 0, "weak": "llama", "stage1": {"iterations": 2}, "stage2": {"keep": 0.6}},
        "command": ["w2s", "run"], "started": "2026-11-23T07:00:00+00:00",
    }  # fmt: skip
    return name


def labels(store: TinyStore, name: str, fault: str, rng: np.random.Generator) -> dict[str, str]:
    weak, icl, agreed = [], [], []
    for i in range(N):
        hard = 1 + i % 6 > 3
        right_weak, right_icl = bool(rng.random() < 0.5), bool(rng.random() < 0.6)
        same = fault == "shared" and rng.random() < 0.6
        weak.append(row(i, ["7" if right_weak else f"same {i}" if same else f"weak {i}"], [right_weak]))
        icl.append(row(i, ["7" if right_icl else f"same {i}" if same else f"icl {i}"], [right_icl]))
        precision = 0.6 if fault == "impure" and hard else 0.96
        kept = 0.05 if fault == "rare" else 0.9 - 0.8 * hard if fault == "easy" else 0.6
        if rng.random() < kept:
            hit = bool(rng.random() < precision)
            agreed.append(row(i, ["7" if hit else "8"], [hit]))
    made = {"weak_0": weak, "icl_0": icl, "agreed_1": agreed[::2], "weak_1": weak, "agreed_2": agreed}
    return {f"labels/{one}": store.put(f"{name}-{one}", "grades.parquet", rows) for one, rows in made.items()}


def pairs(store: TinyStore, name: str, fault: str, rng: np.random.Generator) -> dict[str, str]:
    chosen = [bool(rng.random() < (0.5 if fault == "chosen" else 0.95)) for _ in range(N)]
    rejected = [bool(rng.random() < (0.5 if fault == "rejected" else 0.05)) for _ in range(N)]
    words = 8 if fault == "pair_length" else 4
    rows = [
        {"id": f"q{i:04d}", "kind": "weak_chosen", "chosen": "one " * words, "rejected": "one two three four"}
        for i in range(N)
    ]
    graded = {
        f"labels/pairs_{side}": store.put(
            f"{name}-pairs-{side}", "grades.parquet", [row(i, ["7"], [one]) for i, one in enumerate(found)]
        )
        for side, found in {"chosen": chosen, "rejected": rejected}.items()
    }
    return {"pairs": store.put(f"{name}-pairs", "rows.parquet", rows), **graded}


def vote(i: int, fault: str, rng: np.random.Generator) -> dict[str, Any]:
    """Ten answers, of which as many as the confidence says are the same."""
    sure = int(rng.integers(2, 11))
    chance = {"oversure": sure / 10 - 0.25, "unsure": sure / 10 + 0.2, "blind": 0.6}.get(fault, sure / 10)
    hit = bool(rng.random() < chance)
    others = [f"other {j}" for j in range(10 - sure)]
    return row(i, ["7" if hit else "8"] * sure + others, [hit] * sure + [False] * len(others))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    made = TinyStore(tmp_path_factory.mktemp("diagnose"))
    for fault in ("", *FAULTS):
        plant(made, fault)
    return made


def group_of(store: TinyStore, run: str) -> Group:
    [group] = make_groups(load_frames(store, [run]))
    return group


def raw(store: TinyStore, run: str, label: str) -> list[dict[str, Any]]:
    """The rows of a graded target as they stand in its file."""
    key = store.refs.records[run]["targets"][label]
    rows: list[dict[str, Any]] = read_parquet(store.path(key) / "grades.parquet").to_pylist()
    return rows


def known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def by_signature(found: list[Finding]) -> dict[str, Finding]:
    return {one.signature: one for one in found}


# Verdicts


def test_a_healthy_run_shows_nothing_and_every_rule_is_applied(store: TinyStore) -> None:
    found = diagnose(store, "healthy")
    assert len(found) == len(RULES) == len(MEASURES)
    assert {one.verdict for one in found} <= {"not shown", "not resolved"}
    assert sum(one.verdict == "not shown" for one in found) >= len(RULES) - 2


@pytest.mark.parametrize("fault", FAULTS)
def test_the_planted_fault_is_found_and_no_other(store: TinyStore, fault: str) -> None:
    shown = [one.signature for one in diagnose(store, fault) if one.verdict == "shown"]
    assert shown == [FAULTS[fault]]


def test_a_vote_that_is_too_sure_and_one_that_is_not_sure_enough_get_opposite_advice(
    store: TinyStore,
) -> None:
    sure, unsure = (by_signature(diagnose(store, one))[FAULTS[one]] for one in ("oversure", "unsure"))
    assert sure.value is not None
    assert unsure.value is not None
    assert sure.value > 0.1 > -0.1 > unsure.value
    assert "raise stage2.keep" in sure.advice
    assert "lower stage2.keep" in unsure.advice


def test_dpo_and_orpo_are_held_to_m_plus_by_beta_in_opposite_ways(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store, "length")
    targets = store.refs.records["length"]["targets"]
    targets["greedy/test/orpo"] = targets["greedy/test/dpo"]
    found = by_signature(diagnose(store, "length"))
    assert "raise stage2.dpo.beta" in found["DPO: responses change in length"].advice
    assert "lower stage2.orpo.learning_rate, or lower stage2.orpo.beta" in (
        found["ORPO: responses change in length"].advice
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.signature)
@given(ends=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_a_verdict_is_what_every_point_of_the_interval_says(
    rule: rules.Rule, ends: tuple[float, float]
) -> None:
    low, high = sorted(ends)

    def beyond(value: float) -> bool:
        mirror = 1 / rule.limit if rule.scale == "ratio" else -rule.limit
        return (value > rule.limit if rule.above else value < rule.limit) or (rule.both and value < mirror)

    mirror = 1 / rule.limit if rule.both and rule.scale == "ratio" else -rule.limit
    inside = [one for one in (rule.limit, mirror) if low <= one <= high]
    said = {beyond(value) for value in (low, high, *inside)}
    one_sided = low > rule.limit if rule.above else high < rule.limit
    if rule.verdict(low, high) == "shown":
        assert said == {True}
    elif rule.verdict(low, high) == "not shown":
        assert said == {False}
    else:
        assert not one_sided
        assert said == {True, False} or rule.both


def test_an_unknown_interval_resolves_nothing() -> None:
    for ends in ((nan, nan), (nan, 0.0), (1.0, nan)):
        assert {rule.verdict(*ends) for rule in RULES} == {"not resolved"}
    assert rules.GAIN.interval(0.1, nan, nan) == "+10.0 points, no interval: too few groups"
    assert rules.GAIN.interval(0.1, -0.0001, 0.2) == "+10.0 [0.0, +20.0] points"


# Over-fitting


def test_a_loss_that_does_not_fall_is_no_over_fitting(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(
        store, "overfit", log=[(1, 0.9), (10, 0.5), (20, 0.6)]
    )  # the first batch alone would say that it falls
    found = by_signature(diagnose(store, "overfit"))["DPO: over-fitting"]
    assert found.verdict == "not shown"
    assert "training loss 0.54, then 0.6" in found.evidence


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"log": []}', '{"log": [{"step": 3}]}', '{"log": [{"step": 0, "loss": 1}]}',
             '{"log": [{"step": 2, "loss": NaN}]}', '{"log": [{"step": 5, "loss": 1}, {"step": 4, "loss": 1}]}']
)  # fmt: skip
def test_without_a_readable_log_over_fitting_is_not_resolved(tmp_path: Path, text: str | None) -> None:
    store = TinyStore(tmp_path)
    plant(store, "overfit")
    file = store.root / "overfit-prefer-dpo" / "training.json"
    file.unlink()
    if text is not None:
        file.write_text(text)
    found = by_signature(diagnose(store, "overfit"))["DPO: over-fitting"]
    assert found.verdict == "not resolved"
    assert "training loss not recorded" in found.evidence


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 10)), min_size=1, max_size=8))
def test_the_halves_of_a_log_are_means_over_its_steps(entries: list[tuple[int, float]]) -> None:
    losses = [loss for length, loss in entries for _ in range(length)]
    ends = np.cumsum([length for length, _ in entries]).tolist()
    found = halves_of_log(list(zip(ends, [loss for _, loss in entries], strict=True)))
    if len(losses) < 2:
        assert found is None
        return
    halves = [one for one in losses for _ in range(2)]  # half steps, so that an odd number has a middle too
    middle = len(losses)
    assert found == (pytest.approx(np.mean(halves[:middle])), pytest.approx(np.mean(halves[middle:])))


def test_losses_come_from_the_log_of_the_named_step(store: TinyStore) -> None:
    steps = store.refs.records["healthy"]["steps"]
    by_hand = [0.0, 0.0]
    for (before, _), (step, loss) in pairwise([(0, 0.0), *FALLING]):
        for half_step in range(2 * before, 2 * step):
            by_hand[half_step >= 23] += loss / 23
    assert loss_halves(store, steps, "prefer:dpo") == pytest.approx(by_hand)
    assert loss_halves(store, steps, "prefer:orpo") is None
    assert loss_halves(store, {"prefer:dpo": "gone"}, "prefer:dpo") is None


# Measures


def test_what_agreement_keeps_is_counted(store: TinyStore) -> None:
    for run in ("healthy", "easy", "impure", "rare"):
        group, agreed = group_of(store, run), raw(store, run, "labels/agreed_2")
        asked = raw(store, run, "labels/weak_1")
        assert known(measures.agreement(group)).value == pytest.approx(len(agreed) / len(asked))
        share, precision = [], []
        for levels in ((1, 2, 3), (4, 5, 6)):
            ours = [one for one in agreed if one["level"] in levels]
            share.append(len(ours) / sum(one["level"] in levels for one in asked))
            precision.append(sum(one["verdicts"] == ["right"] for one in ours) / len(ours))
        assert known(hard_over_easy(group)).value == pytest.approx(share[1] / share[0])
        gap = known(purity_gap(group))
        assert gap.value == pytest.approx(precision[0] - precision[1])
        assert (gap.n, gap.clusters) == (len(agreed), len({one["template"] for one in agreed}))


def test_an_interval_of_what_is_kept_covers_the_truth_as_often_as_it_says(tmp_path: Path) -> None:
    """Harder questions are kept 0.3 / 0.6 as often; questions of one template share their luck."""
    covered = 0
    for trial in range(60):
        store, rng = TinyStore(tmp_path / str(trial)), np.random.default_rng(trial)
        asked = [row(i, ["7"], [True]) | {"template": f"t{i // 12}"} for i in range(240)]
        luck = {f"t{i}": rng.random() for i in range(20)}
        kept = [
            one
            for one in asked
            if (luck[one["template"]] if rng.random() < 0.5 else rng.random())
            < (0.6 if one["level"] < 4 else 0.3)
        ]
        keys = {
            f"labels/{name}": store.put(name, "grades.parquet", rows)
            for name, rows in {"weak_0": asked, "agreed_1": kept}.items()
        }
        store.refs.records["run"] = {"weak": "w", "strong": "s", "task": "mini", "seed": 0, "targets": keys}
        found = known(hard_over_easy(group_of(store, "run")))
        covered += found.low <= 0.5 <= found.high
    assert covered >= 51


def test_a_question_twice_under_one_template_tells_no_more_than_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    asked = [row(i, ["7"], [True]) for i in range(120)]
    kept = [one for one in asked if rng.random() < (0.6 if one["level"] < 4 else 0.3)]
    store, found = TinyStore(tmp_path), {}
    for name, copies in (("once", ("",)), ("twice", ("a", "b"))):
        sets = {"weak_0": asked, "agreed_1": kept}
        rows = {
            label: [one | {"id": one["id"] + copy} for one in given for copy in copies]
            for label, given in sets.items()
        }
        keys = {
            f"labels/{label}": store.put(f"{name}-{label}", "grades.parquet", given)
            for label, given in rows.items()
        }
        store.refs.records[name] = {"weak": "w", "strong": "s", "task": "mini", "seed": 0, "targets": keys}
        found[name] = known(hard_over_easy(group_of(store, name)))
    once, twice = found["once"], found["twice"]
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert (once.n, twice.n, once.clusters, twice.clusters) == (120, 240, 120, 120)


def test_levels_are_halved_by_number() -> None:
    found = halves_of([1, 2, 3, None, "x", 3, 1])
    assert found is not None
    assert [one.tolist() for one in found] == [
        [True, False, False, False, False, False, True],
        [False, True, True, False, False, True, False],
    ]
    assert halves_of([2, 2, None]) is None
    assert halves_of([]) is None


def test_shared_errors_are_counted_against_chance(store: TinyStore) -> None:
    weak, icl = ({one["id"]: one for one in raw(store, "shared", f"labels/{x}_0")} for x in ("weak", "icl"))
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
    majority = [Counter(one["answers"]).most_common(1)[0] for one in rows]
    sure = np.array([times / 10 for _, times in majority])
    right = np.array([answer == "7" for answer, _ in majority])
    found = by_signature(diagnose(store, "oversure"))
    assert found["the vote is miscalibrated"].value == pytest.approx(sure.mean() - right.mean())
    ece = sum(
        (at := sure == value).mean() * abs(right[at].mean() - value) for value in np.unique(sure).tolist()
    )
    assert f"ECE {100 * ece:.1f} %" in found["the vote is miscalibrated"].evidence
    ranked = found["confidence does not tell right from wrong"]
    assert ranked.value == pytest.approx(roc_auc_score(right, sure))
    kept = [hit for share, hit in zip(sure, right, strict=True) if share >= 0.6]
    dropped = [hit for share, hit in zip(sure, right, strict=True) if share < 0.6]
    told = (
        f"of {len(kept)} kept {100 * sum(kept) / len(kept):.1f} % right, "
        f"of {len(dropped)} dropped {100 * sum(dropped) / len(dropped):.1f} % right"
    )
    assert kept_and_dropped(group_of(store, "oversure")) == f"at stage2.keep 0.6: {told}"


def test_sides_lengths_and_gains_are_counted(store: TinyStore) -> None:
    def share(run: str, label: str) -> float:
        rows = raw(store, run, label)
        return sum(one["verdicts"] == ["right"] for one in rows) / len(rows)

    def value(run: str, signature: str) -> float | None:
        return by_signature(diagnose(store, run))[signature].value

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


# What a run lacks


def without(store: TinyStore, *prefixes: str) -> None:
    record = store.refs.records["healthy"]
    record["targets"] = {k: v for k, v in record["targets"].items() if not k.startswith(prefixes)}


def test_a_run_of_the_floor_alone_has_no_data_for_any_rule(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    record = store.refs.records["healthy"]
    record["targets"] = {"greedy/test/weak_floor": record["targets"]["greedy/test/weak_floor"]}
    found = diagnose(store, "healthy")
    assert len(found) == len(RULES)
    assert {one.verdict for one in found} == {"no data"}
    assert "{" not in render("healthy", found)
    told = by_signature(found)
    assert "no target labels/agreed_1, labels/weak_0" in told["agreement is too rare"].evidence
    assert "one iteration" in told["the last iteration loses accuracy"].evidence


def test_a_run_without_stage_two_says_so_and_judges_stage_one(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    before = by_signature(diagnose(store, "healthy"))
    without(store, "vote", "pairs", "labels/pairs", "greedy/test/dpo")
    found = diagnose(store, "healthy")
    of_two = [one for one in found if one.family == rules.STAGE_TWO]
    assert {one.verdict for one in of_two} == {"no data"}
    assert sum("stage2.methods" in one.evidence for one in of_two) == 2
    assert "no target vote" in by_signature(found)["the vote is miscalibrated"].evidence
    rest = [one for one in found if one.family != rules.STAGE_TWO]
    assert rest == [before[one.signature] for one in rest]


@pytest.mark.parametrize(
    ("label", "silent"),
    [
        ("labels/icl_0", {"both sides make the same errors"}),
        ("labels/pairs_rejected", {"the rejected side is often right"}),
        ("greedy/test/weak_icl", {"training falls behind prompting"}),
        ("greedy/test/dpo", {"DPO: responses change in length", "DPO: over-fitting"}),
    ],
)
def test_what_is_not_computed_yet_is_named_and_the_rest_is_judged_as_before(
    tmp_path: Path, label: str, silent: set[str]
) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    before = by_signature(diagnose(store, "healthy"))
    shutil.rmtree(store.path(store.refs.records["healthy"]["targets"][label]))
    after = by_signature(diagnose(store, "healthy"))
    assert {name for name, one in after.items() if one.verdict == "no data"} == silent
    assert all(f"not computed yet, or damaged: {label}" in after[name].evidence for name in silent)
    assert all(after[name] == one for name, one in before.items() if name not in silent)


def test_an_empty_agreement_is_rare_and_has_no_precision(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    targets = store.refs.records["healthy"]["targets"]
    targets["labels/agreed_2"] = store.put("nothing", "grades.parquet", [])
    found = by_signature(diagnose(store, "healthy"))
    assert found["agreement is too rare"].verdict == "shown"
    assert found["agreement is too rare"].value == 0
    assert found["agreement is precise on easy questions only"].verdict == "no data"
    assert "nothing is kept" in found["agreement keeps easy questions only"].evidence


# The command


@dataclass
class Typed:
    """What a typed command printed, and its exit status."""

    status: int
    out: str
    err: str


Type = Callable[..., Typed]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Runs the whole command line as a shell would, with its handling of errors."""
    from w2s_core.cli import main

    def run(root: Path, *arguments: str) -> Typed:
        monkeypatch.setattr("sys.argv", ["w2s", "--store", str(root), "diagnose", *arguments])
        status: object = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        shown = capsys.readouterr()
        assert isinstance(status, int)
        return Typed(status, shown.out, shown.err)

    return run


def strict(text: str) -> Any:
    """JSON as the standard has it: no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def test_the_command_prints_and_saves_the_same_twice_and_leaves_the_store_as_it_was(
    tmp_path: Path, typed: Type
) -> None:
    real = Store(tmp_path / "store")
    add_run(real, "one")

    def files() -> dict[Path, tuple[int, bytes]]:
        everything = (path for path in real.root.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in everything}

    before = files()
    shown = [typed(real.root, "on", "--json", str(tmp_path / f"{i}.json")) for i in range(2)]
    assert [one.status for one in shown] == [0, 0]
    assert shown[0] == shown[1]
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert files() == before
    saved = strict((tmp_path / "0.json").read_text())
    assert saved == strict(json.dumps(as_json("one", diagnose(real, "one"))))
    assert shown[0].out == render("one", diagnose(real, "one"))


def test_the_listing_fits_and_gives_advice_only_for_what_is_shown(store: TinyStore) -> None:
    for run in ("healthy", *FAULTS):
        told = render(run, diagnose(store, run))
        assert max(map(len, told.splitlines())) <= 100
        assert told.count("try: ") == (run != "healthy")
        assert told.count("rule: ") == len(RULES)
        assert told.startswith(f"{run}: " + ("1 shown, " if run != "healthy" else ""))
        assert "{" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["two"], "no run is named 'two'"),
        (["run"], "could be run-a, run-b"),
        (["run-a", "--json", "no/such/folder/x.json"], "no/such/folder/x.json: cannot write the findings"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path: Path, typed: Type, arguments: list[str], told: str) -> None:
    real = Store(tmp_path / "store")
    for name in ("run-a", "run-b"):
        add_run(real, name)
    result = typed(real.root, *arguments)
    assert (result.status, result.out) == (2, "")
    assert told in result.err
    assert len(result.err.splitlines()) == 1


def test_a_damaged_result_is_one_line_and_the_next_time_it_is_missing(tmp_path: Path, typed: Type) -> None:
    real = Store(tmp_path / "store")
    add_run(real, "one")
    key = real.refs.read("one")["targets"]["labels/agreed_2"]
    (real.path(key) / "grades.parquet").write_bytes(b"torn")
    first = typed(real.root, "one")
    assert (first.status, first.out) == (2, "")
    assert "is damaged" in first.err
    assert len(first.err.splitlines()) == 1
    second = typed(real.root, "one")
    assert second.status == 0
    assert "not computed yet, or damaged: labels/agreed_2" in " ".join(second.out.split())
    assert "agreed_1" not in second.out
