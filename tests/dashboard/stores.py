"""Real stores with runs of known truth: grades as `tests.analysis.synthetic` makes them, committed as a step would."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.analysis.synthetic import grades, rng_of
from w2s_core.engine import Context, Handle, Store, step
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Outline, outline_entry
from w2s_core.rows import write_rows

TRUTH = {"weak_floor": 0.3, "weak_icl": 0.6, "hybrid_ft_1": 0.7, "hybrid_ft_2": 0.75, "dpo": 0.8}
QUESTIONS = {"train_1": 120, "train_2": 120, "test": 60}
Targets = dict[str, Handle]

FOREIGN = "distil"
"""A recipe that no package here has: what is shown of its runs can come from their records alone."""
FOREIGN_OUTLINE = [
    Outline("greedy", "base", "base, zero-shot", "floor", "test"),
    Outline("greedy", "few", "base, few-shot", "baseline", "test"),
    Outline("greedy", "round_1", "round 1", "variant", "test"),
    Outline("greedy", "round_2", "round 2", "method", "test"),
    Outline("samples", "round_2", "round 2", "method", "test"),
    # The name of a target of weak_to_strong, which means another model here.
    Outline("greedy", "dpo", "preferred", "method", "test"),
    Outline("labels", "voted", "majority votes"),
]
FOREIGN_TRUTH = {"base": 0.4, "few": 0.5, "round_1": 0.6, "round_2": 0.7, "dpo": 0.65, "voted": 0.9}


@step(version=1)
def shown_gold(ctx: Context, *, split: str, n: int) -> dict[str, Any]:
    """Gold answers of n questions."""
    return {"rows": write_rows(ctx.out / "rows.parquet", gold_rows_of(split, n))}


@step(version=1)
def shown_grades(
    ctx: Context,
    *,
    run: str,
    split: str,
    n: int,
    accuracy: float,
    samples: int = 1,
    share: float = 1.0,
    gold: Path | None = None,
) -> dict[str, Any]:
    """Grades of some of n questions, different for each run."""
    return {
        "questions": write_rows(ctx.out / "grades.parquet", rows_of(run, split, n, accuracy, samples, share))
    }


def gold_rows_of(split: str, n: int) -> list[dict[str, Any]]:
    """The rows of `shown_gold`."""
    return [{"id": f"{split}-{i:05d}", "gold": "7"} for i in range(n)]


def rows_of(
    run: str, split: str, n: int, accuracy: float, samples: int = 1, share: float = 1.0
) -> list[dict[str, Any]]:
    """The rows of `shown_grades`."""
    rng = rng_of(run, split, accuracy, samples)
    return [row for row in grades(split, n, accuracy, rng, samples) if rng.random() <= share]


def targets_of(run: str, *, n: int = 60, split: str = "test", truth: Mapping[str, float] = TRUTH) -> Targets:
    """The targets of a run of two iterations."""
    targets = {
        f"greedy/{split}/{method}": shown_grades(run=run, split=split, n=n, accuracy=share)
        for method, share in truth.items()
    }
    targets[f"samples/{split}/dpo"] = shown_grades(run=run, split=split, n=n, accuracy=0.8, samples=10)
    for name, share in (("weak_0", 1.0), ("agreed_1", 0.4), ("agreed_2", 0.6)):
        targets[f"labels/{name}"] = labelled(run, 2 * n, 0.9, share)
    return targets


def labelled(run: str, n: int, accuracy: float, share: float) -> Handle:
    """Grades of a share of n training questions, against gold answers of all of them."""
    gold = shown_gold(split="train_2", n=n)
    return shown_grades(run=run, split="train_2", n=n, accuracy=accuracy, share=share, gold=gold)


def foreign_targets_of(run: str, *, n: int = 60) -> Targets:
    """The targets of `FOREIGN_OUTLINE`."""
    targets = {}
    for entry in FOREIGN_OUTLINE:
        accuracy = FOREIGN_TRUTH[entry.name]
        if entry.kind == "labels":
            targets[entry.label] = labelled(run, 2 * n, accuracy, 0.5)
        else:
            samples = 10 if entry.kind == "samples" else 1
            targets[entry.label] = shown_grades(
                run=run, split="test", n=n, accuracy=accuracy, samples=samples
            )
    return targets


def compute(store: Store, handle: Handle) -> None:
    """Do what the engine does for a step and its inputs, without its scheduler: many runs are made quickly."""
    if store.has(handle.key):
        return
    for parent in handle.parents():
        compute(store, parent)
    out = store.begin(handle.key)
    if handle.name == "shown_gold":
        summary = {"rows": write_rows(out / "rows.parquet", gold_rows_of(**handle.params))}
    else:
        summary = {"questions": write_rows(out / "grades.parquet", rows_of(**handle.params))}
    store.commit(handle, out, summary, time.time(), 0.5)


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
    """Record a run of weak_to_strong and compute its targets, but for those that are `missing`."""
    targets = targets if targets is not None else targets_of(name)
    for label, handle in targets.items():
        if label not in missing:
            compute(store, handle)
    of_study = {"study": study, "cell": {}} if study else {}
    store.refs.write(name, record_of(name, targets, settings or {}, seed, minute) | of_study)


def add_foreign_run(
    store: Store, name: str, *, settings: Mapping[str, Any] | None = None, seed: int = 0, minute: int = 0
) -> None:
    """Record and compute a run of a recipe that is not installed."""
    targets = foreign_targets_of(name)
    for handle in targets.values():
        compute(store, handle)
    store.refs.write(name, foreign_record_of(name, targets, settings or {}, seed, minute))


def record_of(
    name: str, targets: Targets, settings: Mapping[str, Any], seed: int, minute: int
) -> dict[str, Any]:
    """What `w2s_core.runs.record` writes."""
    experiment = {"weak": "/bases/llama", "strong": "/bases/strong", **settings}
    old_outline = RECIPES.get("weak_to_strong").old_outline
    assert old_outline is not None
    bases = {field: Path(experiment[field]).name for field in ("weak", "strong")}
    record = _record(name, "weak_to_strong", targets, old_outline(list(targets)), seed, minute)
    return record | {"experiment": record["experiment"] | experiment, "bases": bases}


def old_record_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same as it was written before recipes had names."""
    added = ("recipe", "outline", "bases")
    old = {name: value for name, value in record.items() if name not in added} | record["bases"]
    old["experiment"] = {name: value for name, value in record["experiment"].items() if name != "recipe"}
    return old


def foreign_record_of(
    name: str, targets: Targets, settings: Mapping[str, Any], seed: int, minute: int
) -> dict[str, Any]:
    """The record of a run of the recipe `FOREIGN`."""
    experiment = {"model": "/bases/qwen", "rounds": 2, **settings}
    record = _record(name, FOREIGN, targets, FOREIGN_OUTLINE, seed, minute)
    bases = {"model": Path(experiment["model"]).name}
    return record | {"experiment": record["experiment"] | experiment, "bases": bases}


def _record(
    name: str, recipe: str, targets: Targets, outline: list[Outline], seed: int, minute: int
) -> dict[str, Any]:
    return {
        "run": name,
        "recipe": recipe,
        "experiment": {"name": "x", "recipe": recipe, "seed": seed},
        "task": "mini",
        "seed": seed,
        "targets": {label: handle.key for label, handle in targets.items()},
        "outline": [outline_entry(entry) for entry in outline],
        "steps": {label: handle.key for label, handle in targets.items()},
        "questions": QUESTIONS,
        "duplicates": {"found": 0, "dropped": 0},
        "command": ["w2s", "run", "experiments/mini/paper.yaml", f"seed={seed}"],
        "started": f"2026-11-23T{7 + minute // 60:02d}:{minute % 60:02d}:00+00:00",
    }
