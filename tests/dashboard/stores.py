"""Real stores with runs of known truth: grades as `tests.analysis.synthetic` makes them, committed as a step would."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.analysis.synthetic import grades, rng_of
from w2s_core.engine import Context, Handle, Store, step
from w2s_core.rows import write_rows

TRUTH = {"weak_floor": 0.3, "weak_icl": 0.6, "hybrid_ft_1": 0.7, "hybrid_ft_2": 0.75, "dpo": 0.8}
Targets = dict[str, Handle]


@step(version=1)
def shown_grades(
    ctx: Context, *, run: str, split: str, n: int, accuracy: float, samples: int = 1, share: float = 1.0
) -> dict[str, Any]:
    """Grades of some of n questions, different for each run."""
    return {
        "questions": write_rows(ctx.out / "grades.parquet", rows_of(run, split, n, accuracy, samples, share))
    }


def rows_of(
    run: str, split: str, n: int, accuracy: float, samples: int = 1, share: float = 1.0
) -> list[dict[str, Any]]:
    """The rows of `shown_grades`."""
    rng = rng_of(run, split, accuracy, samples)
    return [row for row in grades(split, n, accuracy, rng, samples) if rng.random() <= share]


def targets_of(run: str, *, n: int = 60, split: str = "test", truth: Mapping[str, float] = TRUTH) -> Targets:
    """The targets of a run of two iterations."""
    found = {
        f"greedy/{split}/{method}": shown_grades(run=run, split=split, n=n, accuracy=share)
        for method, share in truth.items()
    }
    found[f"samples/{split}/dpo"] = shown_grades(run=run, split=split, n=n, accuracy=0.8, samples=10)
    for name, share in (("weak_0", 1.0), ("agreed_1", 0.4), ("agreed_2", 0.6)):
        found[f"labels/{name}"] = shown_grades(run=run, split="train_2", n=2 * n, accuracy=0.9, share=share)
    return found


def compute(store: Store, handle: Handle) -> None:
    """Do what the engine does for one step, without its scheduler: many runs are made quickly."""
    if store.has(handle.key):
        return
    out = store.begin(handle.key)
    questions = write_rows(out / "grades.parquet", rows_of(**handle.params))
    store.commit(handle, out, {"questions": questions}, time.time(), 0.5)


def add_run(
    store: Store,
    name: str,
    *,
    settings: Mapping[str, Any] | None = None,
    study: str | None = None,
    seed: int = 0,
    minute: int = 0,
    missing: tuple[str, ...] = (),
    targets: Targets | None = None,
) -> None:
    """Record a run and compute its targets, but for those that are `missing`."""
    found = targets if targets is not None else targets_of(name)
    for label, handle in found.items():
        if label not in missing:
            compute(store, handle)
    more = {"study": study, "cell": {}} if study else {}
    store.refs.write(name, record_of(name, found, settings or {}, seed, minute) | more)


def record_of(
    name: str, targets: Targets, settings: Mapping[str, Any], seed: int, minute: int
) -> dict[str, Any]:
    """What `w2s_core.runs.record` writes."""
    return {
        "run": name,
        "experiment": {
            "name": "x",
            "seed": seed,
            "weak": "/bases/llama",
            "strong": "/bases/strong",
            **settings,
        },
        "weak": Path(str(settings.get("weak", "/bases/llama"))).name,
        "strong": "strong",
        "task": "mini",
        "seed": seed,
        "targets": {label: handle.key for label, handle in targets.items()},
        "steps": {label: handle.key for label, handle in targets.items()},
        "questions": {"train_1": 120, "train_2": 120, "test": 60},
        "duplicates": {"found": 0, "dropped": 0},
        "command": ["w2s", "run", "experiments/mini/paper.yaml", f"seed={seed}"],
        "started": f"2026-11-23T{7 + minute // 60:02d}:{minute % 60:02d}:00+00:00",
    }
