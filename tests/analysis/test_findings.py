"""Findings on runs of known truth: what is true is found, what is false is refuted, what is missing is said."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.synthetic import SETS, TRUTH, TinyStore, add_run
from tests.oracle_evaluation import accuracy
from w2s_analysis.parts.rules import Finding, Limit
from w2s_analysis.reading.contrasts import difference, precision_gain
from w2s_analysis.reading.frame import GRADES, load_frames
from w2s_analysis.reading.groups import Group, make_groups
from w2s_analysis.weak_to_strong.findings import RULES, control_contrasts, findings, hardest_levels
from w2s_analysis.weak_to_strong.findings_page import save_findings
from w2s_core.errors import UserError
from w2s_core.rows import read_rows
from w2s_core.statistics import Estimate, Spread


def by_name(groups: list[Group]) -> dict[str, Finding]:
    return {finding.rule.name: finding for finding in findings(groups)}


@pytest.fixture(scope="module")
def groups(study: TinyStore) -> list[Group]:
    return make_groups(load_frames(study, list(study.refs.names())))


def test_too_few_samples_for_pass_at_10_leave_the_other_findings_as_they_are(tmp_path: Path) -> None:
    before, after = TinyStore(tmp_path / "ten"), TinyStore(tmp_path / "two")
    for store in (before, after):
        for seed in (0, 1):
            add_run(store, f"run-{seed}", seed=seed)
    for seed in (0, 1):
        targets = after.refs.records[f"run-{seed}"]["targets"]
        for label in [label for label in targets if label.startswith("samples/")]:
            rows = [
                row | {name: row[name][:2] for name in ("answers", "verdicts", "tokens", "finish")}
                for row in read_rows(after.path(targets[label]) / "grades.parquet")
            ]
            targets[label] = after.put(f"two-{seed}-{label.replace('/', '-')}", "grades.parquet", rows)
    ten, two = (by_name(make_groups(load_frames(store, ["run-0", "run-1"]))) for store in (before, after))
    assert two["F5"].claims[0].outcome == "not tested"
    assert ten["F5"].claims[0].outcome != "not tested"
    for name in ten.keys() - {"F5"}:
        assert [claim.effect for claim in ten[name].claims] == [claim.effect for claim in two[name].claims]


def test_true_findings_hold_and_false_ones_fail(groups: list[Group]) -> None:
    tested = by_name(groups)
    assert list(tested) == [f"F{i}" for i in range(1, 10)]
    for name in ("F1", "F2", "F3", "F7", "F9"):
        assert tested[name].outcome == "holds", name
    assert tested["F6"].outcome == "fails"
    assert [claim.outcome for claim in tested["F6"].claims][1] == "fails", "ORPO loses 15 points"
    assert tested["F8"].outcome == "fails"


def test_what_the_runs_cannot_speak_of_is_not_told_as_missing(store: TinyStore, tmp_path: Path) -> None:
    """One weak model, nearly as good as the ceiling, and one iteration of Stage I."""
    truth = {name: share for name, share in TRUTH.items() if not name.endswith("_2")}
    add_run(store, "near", truth=truth | {"weak_floor": 0.7, "ceiling": 0.9}, missing=("greedy/test/dpo",))
    groups = make_groups(load_frames(store, ["near"]))
    tested = by_name(groups)
    reasons = {
        name: finding.claims[0].untested
        for name, finding in tested.items()
        if finding.claims[0].effect is None
    }
    assert reasons["F2"] == "no weak model's floor is below 0.5 of the ceiling"
    assert reasons["F4"] == "no run here has hybrid-ft 2"
    assert reasons["F6"] == "", "dpo is planned and not computed: that is missing"
    assert reasons["F9"] == "it needs two weak models at least"
    page = save_findings(groups, tmp_path / "page")[1][0].read_text()
    assert "Not tested: no run here has hybrid-ft 2." in page
    missing = re.findall("results for “(.*?)” are missing", page)
    assert [claim for claim in missing if "DPO" not in claim] == ["hybrid-ft 1 minus icl-ft 1 pass@10"]


def test_effects_are_means_over_weak_models_and_seeds(groups: list[Group], study: TinyStore) -> None:
    def mean(method: str) -> float:
        runs = list(study.refs.names())
        return float(
            np.mean([accuracy(read_rows(study.path(f"{run}-greedy-test-{method}") / GRADES)) for run in runs])
        )

    tested = by_name(groups)
    for name, second, first in (("F1", "ceiling", "full_weak_ft"), ("F4", "hybrid_ft_2", "hybrid_ft_1")):
        effect = tested[name].claims[0].effect
        assert effect is not None
        assert effect.value == pytest.approx(mean(second) - mean(first))
        assert (effect.n, effect.seeds, effect.clusters) == (240, 3, 120)
        by_group = tested[name].claims[0].by_group
        assert effect.value == pytest.approx(
            np.mean([effect_of.value for effect_of in by_group.values() if effect_of])
        )


def test_runs_with_other_weak_models_add_degrees_of_freedom_but_not_against_the_shared_ceiling(
    groups: list[Group],
) -> None:
    plain, shared = (
        difference(groups, "hybrid_ft_2", "full_weak_ft"),
        difference(groups, "ceiling", "full_weak_ft"),
    )
    assert plain is not None
    assert shared is not None
    assert plain.spread.parts[0][1] == 6
    assert shared.spread.parts[0][1] == 2


def test_precision_gain_is_the_mean_of_the_weak_models_gains(groups: list[Group], study: TinyStore) -> None:
    gain = precision_gain(groups, "agreed_1", "weak_0")
    assert gain is not None
    each = []
    for group in groups:
        kept = [row for run in group.runs for row in read_rows(study.path(f"{run}-agreed_1") / GRADES)]
        all_weak = [row for run in group.runs for row in read_rows(study.path(f"{run}-weak_0") / GRADES)]
        each.append(accuracy(kept) - accuracy(all_weak))
    assert gain.value == pytest.approx(np.mean(each))
    assert gain.low < 0.6 < gain.high


def test_hardest_levels_are_taken_from_the_top_until_they_suffice(groups: list[Group]) -> None:
    levels, chosen = hardest_levels(groups[0])
    assert levels == [6, 5], "40 questions of level 6 do not suffice"
    assert chosen.sum() == 80
    without = replace(groups[0], memo={})
    without.levels = [None] * 240
    assert hardest_levels(without)[0] == []


def test_all_claims_are_corrected_together(groups: list[Group]) -> None:
    claims = [claim for finding in findings(groups) for claim in finding.claims]
    assert len(claims) == 13
    smallest = min(claims, key=lambda claim: claim.p)
    assert smallest.p_holm == pytest.approx(min(1.0, 13 * smallest.p))
    assert all(claim.p_holm >= claim.p for claim in claims)


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, Spread(((0.01, 10.0),)), 100, 1, 100)


@pytest.mark.parametrize(
    ("effect", "p_holm", "verdict"),
    [
        (estimate(0.05, 0.02, 0.08), 0.01, "holds"),
        (estimate(0.05, 0.02, 0.08), 0.06, "not resolved"),
        (estimate(0.005, 0.002, 0.008), 0.01, "holds"),  # small, but there
        (estimate(0.0, -0.005, 0.005), 1.0, "bounded"),
        (estimate(0.0, 0.0, 0.0), 1.0, "bounded"),
        (estimate(-0.05, -0.08, -0.02), 0.01, "fails"),
        (estimate(-0.05, -0.08, -0.02), 0.06, "bounded"),  # not lower after correction, yet no gain
        (estimate(0.0, -0.03, 0.03), 1.0, "not resolved"),
        (estimate(0.0, -0.03, 0.0101), 1.0, "not resolved"),
        (estimate(math.nan, math.nan, math.nan), math.nan, "not tested"),
        (None, math.nan, "not tested"),
    ],
)
def test_verdict_rule(effect: Estimate | None, p_holm: float, verdict: str) -> None:
    assert Limit(smallest=0.01).judge(effect, p_holm) == verdict


def test_each_rule_says_once_which_effect_matters_and_why() -> None:
    for rule in RULES:
        assert 0.01 <= rule.limit.smallest <= 0.05, "in points, as a share"
        assert rule.limit.why


def test_stage_two_that_changes_nothing_is_bounded_and_one_that_harms_fails(
    store: TinyStore, tmp_path: Path
) -> None:
    """A gain is excluded where DPO and ORPO answer as M_plus does; much worse answers are the opposite of a gain."""
    runs = ["r0", "r1", "r2"]
    truth = {"hybrid_ft_2": 0.83, "full_weak_ft": 0.40}
    for seed, run in enumerate(runs):
        add_run(store, run, seed=seed, n=960, truth=truth)
    for orpo, outcomes in (("hybrid_ft_2", ["bounded", "bounded"]), ("full_weak_ft", ["bounded", "fails"])):
        for run in runs:
            targets = store.refs.records[run]["targets"]
            targets["greedy/test/dpo"] = targets["greedy/test/hybrid_ft_2"]
            targets["greedy/test/orpo"] = targets[f"greedy/test/{orpo}"]
        groups = make_groups(load_frames(store, runs))
        finding = by_name(groups)["F6"]
        assert [claim.outcome for claim in finding.claims] == outcomes
        assert finding.outcome == outcomes[-1]
        section = save_findings(groups, tmp_path / orpo)[1][0].read_text().split("## F6")[1].split("## F7")[0]
        assert section.count("a gain of more than 1 point is excluded") == outcomes.count("bounded")
        assert section.count("the opposite is shown") == outcomes.count("fails")


def test_a_verdict_of_one_seed_is_marked_wherever_it_stands(
    groups: list[Group], store: TinyStore, tmp_path: Path
) -> None:
    mark = "one seed: these models only"
    add_run(store, "solo")
    shown, paths = save_findings(make_groups(load_frames(store, ["solo"])), tmp_path / "one")
    page, record = paths[0].read_text(), json.loads(paths[1].read_text())
    for finding in record["findings"]:
        for claim in finding["claims"]:
            assert claim["scope"] == ("" if claim["verdict"] == "not tested" else mark)
        assert (
            f"## {finding['name']}: {finding['verdict']}{' (' + mark + ')' if finding['scope'] else ''}"
            in page
        )
    tested = sum(claim["scope"] == mark for finding in record["findings"] for claim in finding["claims"])
    assert tested == 12, "all but F9, which needs two weak models"
    assert paths[2].read_text().count(mark) == tested
    assert shown.count("*") == tested + 1, "a mark a row, and what it means"
    assert max(map(len, shown.splitlines())) <= 100
    shown, paths = save_findings(groups, tmp_path / "three")
    assert mark not in shown + "".join(path.read_text() for path in paths)


def test_a_noisy_null_is_rarely_called_a_finding(store: TinyStore) -> None:
    flat = dict.fromkeys(TRUTH, 0.5)
    for seed in (0, 1, 2):
        add_run(store, f"r{seed}", seed=seed, n=90, truth=flat, sets=SETS | {"weak_0": (1.0, 0.9)})
    tested = by_name(make_groups(load_frames(store, list(store.refs.names()))))
    assert not [name for name, finding in tested.items() if finding.outcome == "holds" and name != "F9"]
    assert tested["F9"].outcome == "not tested", "one weak model"


def test_missing_results_leave_a_finding_untested(store: TinyStore) -> None:
    add_run(store, "a", missing=("greedy/test/dpo",))
    tested = by_name(make_groups(load_frames(store, ["a"])))
    assert tested["F6"].claims[0].outcome == "not tested"
    assert tested["F6"].outcome in ("not tested", "fails")
    assert tested["F1"].outcome == "holds"


def test_seeds_that_only_some_have_are_left_out_of_a_contrast(store: TinyStore) -> None:
    add_run(store, "a0", seed=0)
    add_run(store, "a1", seed=1, missing=("greedy/test/dpo",))
    add_run(store, "b0", seed=0, weak="mistral")
    add_run(store, "b1", seed=1, weak="mistral")
    groups = make_groups(load_frames(store, list(store.refs.names())))
    effect = difference(groups, "dpo", "hybrid_ft_2")
    assert effect is not None
    assert effect.seeds == 1


def test_what_cannot_be_compared_is_refused(store: TinyStore) -> None:
    add_run(store, "a")
    add_run(store, "b", settings={"stage1": {"iterations": 2, "consistency": 0.5}})
    with pytest.raises(UserError, match="'llama' has 2 settings"):
        findings(make_groups(load_frames(store, ["a", "b"])))
    add_run(store, "c", weak="mistral", n=200)
    with pytest.raises(UserError, match="different questions"):
        findings(make_groups(load_frames(store, ["a", "c"])))


def test_controls_stand_beside_the_findings(groups: list[Group]) -> None:
    names = {claim.name: claim for claim in control_contrasts(groups)}
    assert list(names) == [
        "icl-ft 1 minus control: all ICL",
        "icl-ft 1 minus control: random",
        "icl-ft 1 minus control: gold",
    ]
    gold = names["icl-ft 1 minus control: gold"].effect
    assert gold is not None
    assert gold.value < 0
    assert all(claim.outcome == "not tested" for claim in names.values()), "shown, not claimed"


def test_page_and_json_agree_and_are_the_same_each_time(groups: list[Group], tmp_path: Path) -> None:
    shown, paths = save_findings(groups, tmp_path / "one", "w2s tables")
    _, again = save_findings(groups, tmp_path / "two", "w2s tables")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    record = json.loads(paths[1].read_text())
    page = paths[0].read_text()
    for finding in record["findings"]:
        assert f"## {finding['name']}: {finding['verdict']}" in page
        assert finding["name"] in shown
    assert "1/6" in page, "what three weak models can show is said"
    assert "w2s tables" in page
    assert max(map(len, shown.splitlines())) <= 100
    assert not re.search(r"\bnan\b", page)
