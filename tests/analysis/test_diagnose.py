"""Each failure that is planted in a run is found, and nothing else is; measures equal counting by hand."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.planted import FALLING, FAULTS, by_signature, known, plant, plant_all
from tests.analysis.synthetic import TinyStore
from tests.dashboard.stores import add_run
from w2s_analysis.parts.rules import Limit, Rule, records, render
from w2s_analysis.weak_to_strong.diagnose import RULES, STAGE_TWO, diagnose
from w2s_analysis.weak_to_strong.diagnose_measures import (
    halves_of_log,
    loss_halves,
)
from w2s_core.engine import Store
from w2s_core.statistics import Estimate, Spread


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return plant_all(tmp_path_factory.mktemp("diagnose"))


# Verdicts


def test_a_healthy_run_shows_nothing_and_every_rule_is_applied(store: TinyStore) -> None:
    results = diagnose(store, "healthy")
    assert len(results) == len(RULES) == 15
    assert {finding.outcome for finding in results} <= {"fails", "not resolved"}
    assert sum(finding.outcome == "fails" for finding in results) >= len(RULES) - 2


@pytest.mark.parametrize("fault", FAULTS)
def test_the_planted_fault_is_found_and_no_other(store: TinyStore, fault: str) -> None:
    shown = [finding.rule.name for finding in diagnose(store, fault) if finding.outcome == "holds"]
    assert shown == [FAULTS[fault]]


def test_a_vote_that_is_too_sure_and_one_that_is_not_sure_enough_get_opposite_advice(
    store: TinyStore,
) -> None:
    sure, unsure = (by_signature(diagnose(store, fault))[FAULTS[fault]] for fault in ("oversure", "unsure"))
    assert known(sure.effect).value > 0.1 > -0.1 > known(unsure.effect).value
    assert "raise stage2.keep" in sure.advice
    assert "lower stage2.keep" in unsure.advice


def test_dpo_and_orpo_are_held_to_m_plus_by_beta_in_opposite_ways(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store, "length")
    targets = store.refs.records["length"]["targets"]
    targets["greedy/test/orpo"] = targets["greedy/test/dpo"]
    results = by_signature(diagnose(store, "length"))
    assert "raise stage2.dpo.beta" in results["DPO: responses change in length"].advice
    assert "lower stage2.orpo.learning_rate, or lower stage2.orpo.beta" in (
        results["ORPO: responses change in length"].advice
    )


def spanning(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, Spread(((0.01, 10.0),)), 100, 1, 100)


@pytest.mark.parametrize("limit", [rule.limit for rule in RULES], ids=[rule.name for rule in RULES])
@given(ends=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_a_verdict_is_what_every_point_of_the_interval_says(limit: Limit, ends: tuple[float, float]) -> None:
    low, high = sorted(ends)
    mirror = 1 / limit.value if limit.both and limit.scale == "ratio" else -limit.value

    def beyond(value: float) -> bool:
        one_sided = value > limit.value if limit.above else value < limit.value
        return one_sided or (limit.both and value < mirror)

    inside = [value for value in (limit.value, mirror) if low <= value <= high]
    verdicts = {beyond(value) for value in (low, high, *inside)}
    outcome = limit.judge(spanning(low, high))
    if outcome == "holds":
        assert verdicts == {True}
    elif outcome == "fails":
        assert verdicts == {False}
    elif outcome == "bounded":
        assert limit.value not in (low, high) or verdicts != {True}
        assert not limit.both
        assert (high - limit.value if limit.above else limit.value - low) <= limit.smallest
    else:
        assert not (low > limit.value if limit.above else high < limit.value)
        assert verdicts == {True, False} or limit.both


def test_an_unknown_interval_resolves_nothing() -> None:
    for ends in ((nan, nan), (nan, 0.0), (1.0, nan)):
        effect = replace(spanning(0.1, 0.1), low=ends[0], high=ends[1])
        assert {rule.limit.judge(effect) for rule in RULES} == {"not resolved"}
    points = Limit(0.02, above=False)
    assert points.interval(replace(effect, low=nan)) == "+10.0 points, no interval: too few groups"
    assert points.interval(replace(effect, low=-0.0001, high=0.2)) == "+10.0 [0.0, +20.0] points"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_says_once_which_effect_matters_and_why(store: TinyStore, rule: Rule[Any]) -> None:
    limit = rule.limit
    assert limit.why
    assert (limit.smallest > 0) == (limit.value == 0), (
        "a limit other than 0 is itself the smallest that matters"
    )


@pytest.mark.parametrize(
    ("dpo", "outcome"), [(0.75, "bounded"), (0.7475, "bounded"), (0.65, "holds"), (0.8, "fails")]
)
def test_a_loss_too_small_to_matter_is_bounded(tmp_path: Path, dpo: float, outcome: str) -> None:
    """M_plus has 0.75. Where DPO answers 0 or 1 of 400 questions otherwise, a loss of over 1 point is excluded."""
    store = TinyStore(tmp_path)
    plant(store, accuracy={"dpo": dpo})
    finding = by_signature(diagnose(store, "healthy"))["DPO: over-fitting"]
    assert finding.outcome == outcome
    assert (-0.01 <= known(finding.effect).low <= 0) == (outcome == "bounded")


def test_verdicts_of_one_run_are_marked_as_of_one_seed(store: TinyStore) -> None:
    findings = diagnose(store, "healthy")
    assert {finding.scope for finding in findings} == {"one seed: these models only"}
    assert render("healthy", findings).startswith("healthy: 15 not shown (one seed: these models only)\n")
    assert {record["scope"] for record in records(findings)} == {"one seed: these models only"}


# Over-fitting


def test_a_loss_that_does_not_fall_is_no_over_fitting(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(
        store, "overfit", log=[(1, 0.9), (10, 0.5), (20, 0.6)]
    )  # the first batch alone would say that it falls
    result = by_signature(diagnose(store, "overfit"))["DPO: over-fitting"]
    assert result.outcome == "fails"
    assert "training loss 0.54, then 0.6" in result.evidence


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
    result = by_signature(diagnose(store, "overfit"))["DPO: over-fitting"]
    assert result.outcome == "not resolved"
    assert "training loss not recorded" in result.evidence


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 10)), min_size=1, max_size=8))
def test_the_halves_of_a_log_are_means_over_its_steps(entries: list[tuple[int, float]]) -> None:
    losses = [loss for length, loss in entries for _ in range(length)]
    ends = np.cumsum([length for length, _ in entries]).tolist()
    result = halves_of_log(list(zip(ends, [loss for _, loss in entries], strict=True)))
    if len(losses) < 2:
        assert result is None
        return
    halves = [loss for loss in losses for _ in range(2)]  # half steps, so that an odd number has a middle too
    middle = len(losses)
    assert result == (pytest.approx(np.mean(halves[:middle])), pytest.approx(np.mean(halves[middle:])))


def test_losses_come_from_the_log_of_the_named_step(store: TinyStore) -> None:
    steps = store.refs.records["healthy"]["steps"]
    by_hand = [0.0, 0.0]
    for (before, _), (step, loss) in pairwise([(0, 0.0), *FALLING]):
        for half_step in range(2 * before, 2 * step):
            by_hand[half_step >= 23] += loss / 23
    assert loss_halves(store, steps, "prefer:dpo") == pytest.approx(by_hand)
    assert loss_halves(store, steps, "prefer:orpo") is None
    assert loss_halves(store, {"prefer:dpo": "gone"}, "prefer:dpo") is None


# What a run lacks


def without(store: TinyStore, *prefixes: str) -> None:
    record = store.refs.records["healthy"]
    record["targets"] = {k: v for k, v in record["targets"].items() if not k.startswith(prefixes)}


def test_a_run_of_the_floor_alone_has_no_data_for_any_rule(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    record = store.refs.records["healthy"]
    record["targets"] = {"greedy/test/weak_floor": record["targets"]["greedy/test/weak_floor"]}
    results = diagnose(store, "healthy")
    assert len(results) == len(RULES)
    assert {finding.outcome for finding in results} == {"not tested"}
    assert "{" not in render("healthy", results)
    by_name = by_signature(results)
    assert "no target labels/agreed_1, labels/weak_0" in by_name["agreement is too rare"].evidence
    assert "one iteration" in by_name["the last iteration loses accuracy"].evidence


def test_a_run_without_stage_two_says_so_and_judges_stage_one(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    before = by_signature(diagnose(store, "healthy"))
    without(store, "vote", "pairs", "labels/pairs", "greedy/test/dpo")
    results = diagnose(store, "healthy")
    of_two = [finding for finding in results if finding.rule.family == STAGE_TWO]
    assert {finding.outcome for finding in of_two} == {"not tested"}
    assert sum("stage2.methods" in finding.evidence for finding in of_two) == 2
    assert "no target vote" in by_signature(results)["the vote is miscalibrated"].evidence
    rest = [finding for finding in results if finding.rule.family != STAGE_TWO]
    assert [repr(finding) for finding in rest] == [repr(before[finding.rule.name]) for finding in rest]


@pytest.mark.parametrize(
    ("label", "silent"),
    [
        ("labels/icl_0", {"both sides make the same errors", "the strong model cannot answer in context"}),
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
    assert {name for name, finding in after.items() if finding.outcome == "not tested"} == silent
    assert all(f"not computed yet, or damaged: {label}" in after[name].evidence for name in silent)
    for name in before.keys() - silent:
        assert repr(after[name]) == repr(
            before[name]
        )  # from 3.13 on nan makes a data class unequal to itself


def test_an_empty_agreement_is_rare_and_has_no_precision(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    plant(store)
    targets = store.refs.records["healthy"]["targets"]
    targets["labels/agreed_2"] = store.put("nothing", "grades.parquet", [])
    results = by_signature(diagnose(store, "healthy"))
    assert results["agreement is too rare"].outcome == "holds"
    assert known(results["agreement is too rare"].effect).value == 0
    assert results["agreement is precise on easy questions only"].outcome == "not tested"
    assert "nothing is kept" in results["agreement keeps easy questions only"].evidence


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
    from w2s_core.cli.main import main

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
    assert [run.status for run in shown] == [0, 0]
    assert shown[0] == shown[1]
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert files() == before
    saved = strict((tmp_path / "0.json").read_text())
    assert saved == strict(json.dumps({"run": "one", "findings": records(diagnose(real, "one"))}))
    assert shown[0].out == render("one", diagnose(real, "one"))


def test_the_listing_fits_and_gives_advice_only_for_what_is_shown(store: TinyStore) -> None:
    for run in ("healthy", *FAULTS):
        text = render(run, diagnose(store, run))
        assert max(map(len, text.splitlines())) <= 100
        assert text.count("try: ") == (run != "healthy")
        assert text.count("rule: ") == len(RULES)
        assert text.startswith(f"{run}: " + ("1 shown, " if run != "healthy" else ""))
        assert "{" not in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["two"], "no run is named 'two'"),
        (["run"], "could be run-a, run-b"),
        (["run-a", "--json", "no/such/folder/x.json"], "no/such/folder/x.json: cannot write the findings"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path: Path, typed: Type, arguments: list[str], text: str) -> None:
    real = Store(tmp_path / "store")
    for name in ("run-a", "run-b"):
        add_run(real, name)
    result = typed(real.root, *arguments)
    assert (result.status, result.out) == (2, "")
    assert text in result.err
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
