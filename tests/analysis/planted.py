"""Runs with one planted fault each, for the tests of `w2s diagnose`, and what the tests read of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.analysis.synthetic import TinyStore
from w2s_analysis.parts.rules import Finding
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import Group, make_groups
from w2s_analysis.reading.results import read_parquet
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
    "clueless": "the strong model cannot answer in context",
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
    verdicts = ["right" if hit else "wrong" for hit in right]
    lengths, finish = [tokens] * len(answers), ["eos"] * len(answers)
    return {
        "id": f"q{i:04d}", "level": 1 + i % 6, "template": f"t{i}", "answers": answers, "verdicts": verdicts,
        "tokens": lengths, "finish": finish,
    }  # fmt: skip


def plant(
    store: TinyStore,
    fault: str = "",
    log: list[tuple[int, float]] | None = None,
    accuracy: Mapping[str, float] | None = None,
) -> str:
    """A run of two iterations that is healthy but for one fault. Returns its name."""
    rng = np.random.default_rng(5)
    name = fault or "healthy"
    keys: dict[str, str] = {}
    luck = rng.random(N)
    for method, share in (ACCURACY | SHIFTED.get(fault, {}) | dict(accuracy or {})).items():
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
        right_weak, right_icl = (
            bool(rng.random() < 0.5),
            bool(rng.random() < (0.02 if fault == "clueless" else 0.6)),
        )
        same = fault == "shared" and rng.random() < 0.6
        weak.append(row(i, ["7" if right_weak else f"same {i}" if same else f"weak {i}"], [right_weak]))
        icl.append(row(i, ["7" if right_icl else f"same {i}" if same else f"icl {i}"], [right_icl]))
        precision = 0.6 if fault == "impure" and hard else 0.96
        kept = 0.05 if fault == "rare" else 0.9 - 0.8 * hard if fault == "easy" else 0.6
        if rng.random() < kept:
            hit = bool(rng.random() < precision)
            agreed.append(row(i, ["7" if hit else "8"], [hit]))
    sets = {"weak_0": weak, "icl_0": icl, "agreed_1": agreed[::2], "weak_1": weak, "agreed_2": agreed}
    return {
        f"labels/{label}": store.put(f"{name}-{label}", "grades.parquet", rows)
        for label, rows in sets.items()
    }


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
            f"{name}-pairs-{side}", "grades.parquet", [row(i, ["7"], [hit]) for i, hit in enumerate(hits)]
        )
        for side, hits in {"chosen": chosen, "rejected": rejected}.items()
    }
    return {"pairs": store.put(f"{name}-pairs", "rows.parquet", rows), **graded}


def vote(i: int, fault: str, rng: np.random.Generator) -> dict[str, Any]:
    """Ten answers, of which as many as the confidence says are the same."""
    sure = int(rng.integers(2, 11))
    chance = {"oversure": sure / 10 - 0.25, "unsure": sure / 10 + 0.2, "blind": 0.6}.get(fault, sure / 10)
    hit = bool(rng.random() < chance)
    others = [f"other {j}" for j in range(10 - sure)]
    return row(i, ["7" if hit else "8"] * sure + others, [hit] * sure + [False] * len(others))


def plant_all(folder: Path) -> TinyStore:
    """A store of a healthy run and of one with each fault."""
    store = TinyStore(folder)
    for fault in ("", *FAULTS):
        plant(store, fault)
    return store


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


def by_signature(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.rule.name: finding for finding in findings}
