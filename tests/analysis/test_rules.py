"""The general part of stated rules, on a list of rules that knows nothing of weak-to-strong."""

import json
from math import nan

import pytest

from w2s_analysis.parts.rules import Claim, Limit, Measured, Rule, judge, measure, records, render
from w2s_analysis.writing.notes import ONE_SEED
from w2s_core.statistics import Estimate, Spread

GAINS = {"rejection": 0.04, "majority": 0.05, "neither": 0.0}


def estimate(value: float, se: float = 0.01, seeds: int = 3) -> Estimate:
    return Estimate(value, value - 2 * se, value + 2 * se, Spread(((se * se, 1000.0),)), 200, seeds, 200)


def gain_of(name: str) -> Rule[dict[str, float]]:
    return Rule(
        f"{name} gains", "{split} accuracy gained", Limit(smallest=0.03, why="a day of training"),
        lambda gains: estimate(gains[name]) if name in gains else None, family="Gains",
        needs=("greedy/{split}/" + name,), empty="nothing was graded", advice="go on with {split}",
    )  # fmt: skip


def test_a_recipes_own_list_is_measured_judged_and_listed() -> None:
    rules = [gain_of(name).named({"split": "dev"}) for name in (*GAINS, "other")]
    assert [rule.needs for rule in rules] == [(f"greedy/dev/{name}",) for name in (*GAINS, "other")]
    findings = judge([measure(rule, GAINS) for rule in rules], corrected=False)
    assert [finding.outcome for finding in findings] == ["holds", "holds", "bounded", "not tested"]
    text = render("run", findings)
    assert text.startswith(
        "run: 2 shown, 1 bounded, 1 no data\n\nGains?\n  shown         rejection gains: +4.0 [+2.0"
    )
    assert text.count("try: go on with dev") == 2
    assert (
        "dev accuracy gained, above 0.0 points (3 points beyond it matters: a day of training)"
        in " ".join(text.split())
    )
    assert "other gains: nothing was graded" in text
    assert json.loads(json.dumps(records(findings), allow_nan=False))[2]["verdict"] == "bounded"


def test_targets_that_are_absent_are_the_reason_and_nothing_is_measured() -> None:
    finding = measure(gain_of("rejection"), {}, absent="not computed yet")
    assert (finding.note, finding.effect, finding.evidence) == ("not computed yet", None, "not computed yet")
    assert judge([finding], corrected=False)[0].outcome == "not tested"


def test_correction_needs_more_of_a_claim_than_its_own_interval() -> None:
    """With p = 0.03 a claim alone is above 0, but not as one of three."""
    weak = Rule[None]("weak", "a", Limit(), lambda _: estimate(0.0217))
    nulls = [Rule[None](name, "a", Limit(), lambda _: estimate(0.0)) for name in ("b", "c")]
    findings = [measure(rule, None) for rule in (weak, *nulls)]
    assert judge(findings, corrected=False)[0].outcome == "holds"
    assert [finding.outcome for finding in judge(findings, corrected=True)] == ["not resolved"] * 3


@pytest.mark.parametrize(
    ("condition", "outcome"), [(True, "holds"), (None, "not resolved"), (False, "fails")]
)
def test_what_else_must_hold_decides_only_where_the_effect_is_shown(
    condition: bool | None, outcome: str
) -> None:
    for value, expected in ((0.05, outcome), (0.0, "not resolved"), (-0.05, "fails")):
        claim = Claim("", estimate(value), condition=condition)
        rule = Rule[None]("a", "b", Limit(smallest=0.01), lambda _, claim=claim: Measured([claim]))
        assert judge([measure(rule, None)], corrected=False)[0].outcome == expected


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ((0.05, 0.05), "holds"),
        ((0.05, -0.05), "fails"),
        ((nan, -0.05), "fails"),
        ((0.05, nan), "not tested"),
        ((0.05, 0.0), "bounded"),
        ((0.05, 0.015), "not resolved"),
    ],
)
def test_a_rule_holds_by_all_its_claims_and_fails_by_one(values: tuple[float, float], outcome: str) -> None:
    claims = [Claim(str(i), estimate(value)) for i, value in enumerate(values)]
    rule = Rule[None]("a", "b", Limit(smallest=0.025), lambda _: Measured(claims))
    assert judge([measure(rule, None)], corrected=False)[0].outcome == outcome


def test_one_seed_marks_a_verdict_and_a_missing_one_is_no_verdict() -> None:
    rule = Rule[None]("a", "b", Limit(), lambda _: Measured([Claim("one", estimate(0.1, seeds=1))]))
    [finding] = judge([measure(rule, None)], corrected=False)
    assert finding.scope == finding.claims[0].scope == ONE_SEED
    assert Claim("none", estimate(nan, seeds=1)).scope == ""
