"""A store in miniature with runs of known truth: every method's accuracy is a parameter, questions are shared."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.rows import write_rows

LEVELS = (1, 2, 3, 4, 5, 6)
TRUTH = {
    "weak_floor": 0.30,
    "zero_shot": 0.45,
    "full_weak_ft": 0.40,
    "weak_icl": 0.65,
    "weak_ft_1": 0.70,
    "icl_ft_1": 0.74,
    "hybrid_ft_1": 0.76,
    "weak_ft_2": 0.78,
    "icl_ft_2": 0.81,
    "hybrid_ft_2": 0.83,
    "dpo": 0.83,
    "orpo": 0.84,
    "ceiling": 0.95,
}
SAMPLED = ("icl_ft_2", "hybrid_ft_2", "dpo", "orpo", "ceiling")
SETS = {
    "weak_0": (1.0, 0.3),
    "icl_0": (1.0, 0.6),
    "agreed_1": (0.4, 0.9),
    "weak_1": (1.0, 0.7),
    "agreed_2": (0.6, 0.9),
}


class MemoryRefs:
    def __init__(self) -> None:
        self.records: dict[str, Any] = {}

    def read(self, name: str) -> Any:
        return self.records[name]

    def names(self) -> Iterable[str]:
        return iter(self.records)

    def readable(self) -> Iterable[tuple[str, Any]]:
        return iter(self.records.items())


class TinyStore:
    """Results as folders named by any text; what the analysis reads of the real store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refs = MemoryRefs()

    def path(self, key: str) -> Path:
        return self.root / key

    def folder(self, key: str) -> Path:
        return self.root / key

    def has(self, key: str) -> bool:
        return (self.root / key).is_dir()

    def manifest(self, key: str) -> dict[str, Any]:
        """Each result took a second and drew 100 tokens; its step is told by its key."""
        if not self.has(key):
            raise KeyError(key)
        step = next((name for name in ("sample", "sft", "prefer") if f"-{name}-" in key), "grade")
        return {"spec": {"step": step}, "duration_s": 1.0, "summary": {"tokens": 100}}

    def put(self, key: str, name: str, rows: list[dict[str, Any]]) -> str:
        (self.root / key).mkdir(parents=True)
        write_rows(self.root / key / name, rows)
        return key


def rng_of(*parts: object) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big"))


def grades(
    split: str, n: int, accuracy: float, rng: np.random.Generator, samples: int = 1
) -> list[dict[str, Any]]:
    """Grades of n questions. Questions have difficulties of their own, rising with the level, the same for all."""
    fixed = np.random.default_rng(12345).random(n).tolist()
    luck, silence = rng.random((n, samples)), rng.random((n, samples)).tolist()
    rows = []
    for i in range(n):
        level = LEVELS[i % len(LEVELS)]
        hard = 0.5 * (fixed[i] - 0.5) + 0.05 * (level - 3.5)
        chance = min(1.0, max(0.0, accuracy - hard * 4 * accuracy * (1 - accuracy)))
        right = (luck[i] < chance).tolist()
        unparsed = [not r and u < 0.1 for r, u in zip(right, silence[i], strict=True)]
        rows.append(
            {
                "id": f"{split}-{i:05d}",
                "level": level,
                "template": f"t{i // 2}",
                "answers": [None if u else ("7" if r else "8") for r, u in zip(right, unparsed, strict=True)],
                "verdicts": [
                    "right" if r else "unparsed" if u else "wrong"
                    for r, u in zip(right, unparsed, strict=True)
                ],
                "tokens": [40] * samples,
                "finish": ["length" if u else "eos" for u in unparsed],
            }
        )
    return rows


def add_run(
    store: TinyStore,
    name: str,
    *,
    weak: str = "llama",
    seed: int = 0,
    n: int = 240,
    truth: Mapping[str, float] = TRUTH,
    sets: Mapping[str, tuple[float, float]] = SETS,
    settings: Mapping[str, Any] | None = None,
    missing: tuple[str, ...] = (),
    samples: int = 10,
) -> None:
    """Write a run whose methods have the accuracies of `truth` and whose label sets have (coverage, precision)."""
    targets = {}
    for method, accuracy in truth.items():
        spec = {"split": "test", "n": n, "accuracy": accuracy}
        targets[f"greedy/test/{method}"] = spec
        if method in SAMPLED:
            targets[f"samples/test/{method}"] = spec | {"samples": samples}
    keys = {}
    for label, spec in targets.items():
        keys[label] = f"{name}-{label.replace('/', '-')}"
        if label not in missing:
            store.put(keys[label], "grades.parquet", grades(rng=rng_of(name, label), **spec))
    for kept, (coverage, precision) in sets.items():
        rng = rng_of(name, kept)
        rows = [row for row in grades("train_2", n, precision, rng) if rng.random() < coverage]
        keys[f"labels/{kept}"] = store.put(f"{name}-{kept}", "grades.parquet", rows)
    keys |= _pairs(store, name, n)
    store.refs.records[name] = {
        "run": name,
        "weak": weak,
        "strong": "strong",
        "task": "mini",
        "seed": seed,
        "targets": keys,
        "steps": keys | {f"sft:{method}": f"{name}-sft-{method}" for method in ("weak_floor", "ceiling")},
        "questions": {"train_2": n, "test": n},
        "experiment": {
            "seed": seed,
            "name": "x",
            "weak": weak,
            "stage1": {"iterations": 2},
            **(settings or {}),
        },
        "command": ["w2s", "run", "experiments/mini/paper.yaml", f"seed={seed}"],
        "started": "2026-11-23T07:00:00+00:00",
    }


def _pairs(store: TinyStore, name: str, n: int) -> dict[str, str]:
    rng = rng_of(name, "pairs")
    chosen = grades("train_2", n, 0.9, rng)[: n // 3]
    rejected = grades("train_2", n, 0.1, rng)[: n // 3]
    rows = [
        {
            "id": row["id"],
            "kind": "weak_chosen" if i % 3 else "weak_rejected",
            "chosen": "one two three",
            "rejected": "one two three four",
        }
        for i, row in enumerate(chosen)
    ]
    return {
        "pairs": store.put(f"{name}-pairs", "rows.parquet", rows),
        "labels/pairs_chosen": store.put(f"{name}-pc", "grades.parquet", chosen),
        "labels/pairs_rejected": store.put(f"{name}-pr", "grades.parquet", rejected),
    }
