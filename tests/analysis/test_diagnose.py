"""Each failure that is planted in a run is found, and nothing else is; measures equal counting by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from analysis import signature_measures as measures
from analysis.diagnose import RULES, diagnose, render
from analysis.frame import load_frames
from analysis.groups import Group, make_groups
from tests.analysis.synthetic import TinyStore

N = 400
ACCURACY = {"weak_floor": 0.3, "weak_icl": 0.6, "hybrid_ft_1": 0.75, "dpo": 0.8, "ceiling": 0.95}
FAULTS = {
    "rare": {"agreement is too rare"},
    "easy": {"agreement is precise on easy questions only"},
    "shared": {"both sides make the same errors"},
    "oversure": {"the vote is miscalibrated"},
    "blind": {"confidence does not tell right from wrong"},
    "chosen": {"the chosen side is often wrong"},
    "pair_length": {"pairs differ in length"},
    "length": {"DPO: responses change in length"},
    "overfit": {"DPO: over-fitting"},
    "no_gain": {"the strong model learns nothing"},
    "elicited": {"training falls behind prompting"},
}


class LossStore(TinyStore):
    """A tiny store whose trainings have losses."""

    def manifest(self, key: str) -> dict[str, Any]:
        return super().manifest(key) | {"summary": {"loss_first": 0.69, "loss_last": 0.2}}


def row(i: int, answers: list[str], right: list[bool], tokens: int = 40) -> dict[str, Any]:
    verdicts = ["right" if one else "wrong" for one in right]
    lengths, finish = [tokens] * len(answers), ["eos"] * len(answers)
    return {
        "id": f"q{i:04d}", "level": 1 + i % 6, "template": f"t{i}", "answers": answers, "verdicts": verdicts,
        "tokens": lengths, "finish": finish,
    }  # fmt: skip


def plant(store: TinyStore, fault: str) -> str:
    """A run that is healthy but for one fault. Returns its name."""
    rng = np.random.default_rng(5)
    name = fault or "healthy"
    keys: dict[str, str] = {}
    luck = rng.random(N)
    accuracy = ACCURACY | {
        "overfit": {"dpo": 0.6},
        "no_gain": {"weak_icl": 0.2, "hybrid_ft_1": 0.3, "dpo": 0.35},
        "elicited": {"weak_icl": 0.9},
    }.get(fault, {})
    for method, share in accuracy.items():
        tokens = 80 if (fault, method) == ("length", "dpo") else 40
        graded = [
            row(i, ["7" if luck[i] < share else "8"], [bool(luck[i] < share)], tokens) for i in range(N)
        ]
        keys[f"greedy/test/{method}"] = store.put(f"{name}-{method}", "grades.parquet", graded)
    keys |= labels(store, name, fault, rng) | pairs(store, name, fault, rng)
    keys["vote"] = store.put(f"{name}-vote", "grades.parquet", [vote(i, fault, rng) for i in range(N)])
    store.refs.records[name] = {
        "run": name, "weak": "llama", "strong": "strong", "task": "mini", "seed": 0, "targets": keys,
        "steps": {"prefer:dpo": keys["greedy/test/dpo"]}, "questions": {"train_2": N},
        "experiment": {"seed": 0, "weak": "llama", "stage1": {"iterations": 1}}, "command": ["w2s", "run"],
        "started": "2026-11-23T07:00:00+00:00",
    }  # fmt: skip
    return name


def labels(store: TinyStore, name: str, fault: str, rng: np.random.Generator) -> dict[str, str]:
    weak, icl, agreed = [], [], []
    for i in range(N):
        right_weak, right_icl = bool(rng.random() < 0.5), bool(rng.random() < 0.6)
        same = fault == "shared" and rng.random() < 0.6
        wrong = f"same {i}" if same else f"weak {i}"
        weak.append(row(i, ["7" if right_weak else wrong], [right_weak]))
        icl.append(row(i, ["7" if right_icl else (f"same {i}" if same else f"icl {i}")], [right_icl]))
        precision = 0.6 if fault == "easy" and 1 + i % 6 > 3 else 0.96
        if rng.random() < (0.05 if fault == "rare" else 0.6):
            hit = bool(rng.random() < precision)
            agreed.append(row(i, ["7" if hit else "8"], [hit]))
    made = {"weak_0": weak, "icl_0": icl, "agreed_1": agreed}
    return {f"labels/{one}": store.put(f"{name}-{one}", "grades.parquet", rows) for one, rows in made.items()}


def pairs(store: TinyStore, name: str, fault: str, rng: np.random.Generator) -> dict[str, str]:
    hits = [bool(rng.random() < (0.5 if fault == "chosen" else 0.95)) for _ in range(N)]
    words = 8 if fault == "pair_length" else 4
    rows = [
        {"id": f"q{i:04d}", "kind": "weak_chosen", "chosen": "one " * words, "rejected": "one two three four"}
        for i in range(N)
    ]
    sides = {"chosen": hits, "rejected": [False] * N}
    graded = {
        f"labels/pairs_{side}": store.put(
            f"{name}-pairs-{side}", "grades.parquet", [row(i, ["7"], [one]) for i, one in enumerate(found)]
        )
        for side, found in sides.items()
    }
    return {"pairs": store.put(f"{name}-pairs", "rows.parquet", rows), **graded}


def vote(i: int, fault: str, rng: np.random.Generator) -> dict[str, Any]:
    """Ten answers, of which as many as the confidence says are the same."""
    sure = int(rng.integers(2, 11))
    chance = sure / 10 - 0.25 if fault == "oversure" else 0.6 if fault == "blind" else sure / 10
    hit = bool(rng.random() < chance)
    others = [f"other {j}" for j in range(10 - sure)]
    return row(i, ["7" if hit else "8"] * sure + others, [hit] * sure + [False] * len(others))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LossStore:
    made = LossStore(tmp_path_factory.mktemp("diagnose"))
    for fault in ("", *FAULTS):
        plant(made, fault)
    return made


def group_of(store: TinyStore, run: str) -> Group:
    [group] = make_groups(load_frames(store, [run]))
    return group


def test_a_healthy_run_shows_nothing_and_every_rule_is_applied(store: LossStore) -> None:
    found = diagnose(store, "healthy")
    assert len(found) == len(RULES)
    assert {one.verdict for one in found} <= {"not shown", "not resolved"}
    assert sum(one.verdict == "not shown" for one in found) >= len(RULES) - 2


@pytest.mark.parametrize("fault", FAULTS)
def test_the_planted_fault_is_found_and_no_other(store: LossStore, fault: str) -> None:
    shown = {one.signature for one in diagnose(store, fault) if one.verdict == "shown"}
    assert shown == FAULTS[fault]


def test_a_loss_that_does_not_fall_is_no_over_fitting(tmp_path: Path) -> None:
    class Rising(TinyStore):
        def manifest(self, key: str) -> dict[str, Any]:
            return super().manifest(key) | {"summary": {"loss_first": 0.5, "loss_last": 0.6}}

    store = Rising(tmp_path)
    plant(store, "overfit")
    assert [one.signature for one in diagnose(store, "overfit") if one.verdict == "shown"] == []


def test_measures_are_those_of_counting(store: LossStore) -> None:
    group = group_of(store, "shared")
    kept = measures.agreement(group)
    agreed = group.graded("labels/agreed_1", "shared")
    assert kept is not None
    assert kept.value == pytest.approx(len(agreed.questions.ids) / N)
    sides = [group.graded(f"labels/{one}_0", "shared") for one in ("weak", "icl")]
    rows = [measures._first_answers(group, "shared", f"labels/{one}_0") for one in ("weak", "icl")]
    both = [
        name for i, name in enumerate(sides[0].questions.ids) if not (sides[0].right[i] or sides[1].right[i])
    ]
    same = sum(rows[0][name][0] == rows[1][name][0] for name in both) / len(both)
    chance = 0.0  # by the definition, one question and one other after the other
    for name in both:
        peers = [other for other in both if rows[1][other][2] == rows[0][name][2]]
        chance += sum(rows[1][other][0] == rows[0][name][0] for other in peers) / len(peers) / len(both)
    found = measures.shared_errors(group)
    assert found is not None
    assert found.value == pytest.approx(same - chance)
    length, drift = (
        measures.pair_lengths(group_of(store, "pair_length")),
        measures.response_lengths(group_of(store, "length"), "dpo"),
    )
    assert length is not None
    assert drift is not None
    assert (length.value, drift.value) == (pytest.approx(2.0), pytest.approx(2.0))
    wrong = measures.chosen_wrong(group_of(store, "chosen"))
    graded = group_of(store, "chosen").graded("labels/pairs_chosen", "chosen")
    assert wrong is not None
    assert wrong.value == pytest.approx(1 - graded.right.mean())
    assert wrong.low < wrong.value < wrong.high


def test_what_a_run_lacks_is_no_data(tmp_path: Path) -> None:
    store = LossStore(tmp_path)
    plant(store, "")
    record = store.refs.records["healthy"]
    record["targets"] = {"greedy/test/weak_floor": record["targets"]["greedy/test/weak_floor"]}
    found = diagnose(store, "healthy")
    assert {one.verdict for one in found} == {"no data"}
    assert "no such results" in render("healthy", found)


def test_the_command_prints_evidence_and_saves_it(store: LossStore, tmp_path: Path) -> None:
    from tests.dashboard.stores import add_run
    from w2s_core.cli import w2s
    from w2s_core.engine import Store

    real = Store(tmp_path / "store")
    add_run(real, "one")
    arguments = ["--store", str(real.root), "diagnose", "one", "--json", str(tmp_path / "found.json")]
    shown = [CliRunner().invoke(w2s, arguments, catch_exceptions=False).output for _ in range(2)]
    assert shown[0] == shown[1]
    assert "Stage I underperforms?" in shown[0]
    assert max(map(len, shown[0].splitlines())) <= 110
    saved = json.loads((tmp_path / "found.json").read_text())
    assert {one["signature"] for one in saved["findings"]} >= {"agreement is too rare"}
    told = render("rare", diagnose(store, "rare"))
    assert told.startswith("rare: 1 shown")
    assert "try: lower stage1.consistency" in told
