"""What equal contents and extended samples save, against a build that knows keys only, on the same work.

python benchmarks/prefixes.py OLD [PART ...]    OLD: a checkout of the commit to compare with; named parts go alone

TRIALS=10 shortens the searches, for a try: then the limits mean nothing, and the bound is what can be met.

Each part is a study over the mini lab with few questions and short trainings. Both builds compute it in one process
with one worker, one after the other; figures are processor seconds of the steps, so that other work on the machine
disturbs them little. The results of all trials are compared file by file. The bound is what the older build's steps
would have cost with each content computed once, and of samples that differ in their number the largest alone.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MINI = HERE.parent / "experiments" / "mini"
SMALL = {
    "task.options": {"train_1": 24, "train_2": 24, "dev": 8, "test": 4, "levels": [1, 2]},
    "weak": str(MINI / "bases" / "llama"),
    "weak_sft.max_steps": 10,
    "sft.max_steps": 2,
    "stage2.dpo.epochs": 1,
    "max_new_tokens": 64,
    "stage1.iterations": 1,
    "stage1.samples": 4,
    "stage2.methods": ["dpo"],
    "evaluation.samples": 0,
}
MORE_QUESTIONS = {"task.options": {"train_1": 24, "train_2": 120, "dev": 8, "test": 4, "levels": [1, 2]}}
TRIALS = int(os.environ.get("TRIALS", "60"))
THRESHOLD = {"low": 0.05, "high": 1.0}
PARTS: dict[str, tuple[float, dict[str, Any]]] = {
    "three thresholds, TPE": (
        0.4,
        {
            "space": dict.fromkeys(("stage1.consistency", "stage2.keep", "stage2.flip"), THRESHOLD),
            "sampler": {"name": "tpe", "trials": TRIALS},
        },
    ),
    "consistency, TPE": (
        0.25,
        {"space": {"stage1.consistency": THRESHOLD}, "sampler": {"name": "tpe", "trials": TRIALS}},
    ),
    "votes, n in 4, 8, 16": (
        0.65,
        {"space": {"stage2.samples": [4, 8, 16]}, "fixed": SMALL | MORE_QUESTIONS},
    ),
    "mini_ablation": (
        1.02,
        {
            "space": {
                "weak": [str(MINI / "bases" / name) for name in ("llama", "mistral", "qwen2")],
                "stage1.consistency": [0.25, 0.5, 0.75, 1.0],
                "stage2.methods": [["dpo"], ["orpo"]],
            }
        },
    ),
}


def write_study(folder: Path, part: str) -> Path:
    """The study of a part."""
    fields = {
        "name": "prefixes",
        "base": str(MINI / "paper.yaml"),
        "fixed": SMALL,
        "seeds": [0],
        "test": "none",
    }
    fields |= {"objectives": [{"metric": "accuracy", "direction": "maximize"}], "sampler": {"name": "grid"}}
    fields |= PARTS[part][1]
    fields["fixed"] = {name: value for name, value in fields["fixed"].items() if name not in fields["space"]}
    path = folder / "study.yaml"
    path.write_text(json.dumps(fields))
    return path


def processor_seconds() -> float:
    """Of this process and of its children that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure(study: Path, root: Path) -> dict[str, Any]:
    """Compute a study with the build that is imported: processor seconds by key, and the files of all targets."""
    import w2s_core.sampling
    import w2s_core.training  # noqa: F401 - loaded here, so that no step pays for it
    from w2s_core.engine import Store

    driver, load_study = _sweeps()
    Sweep, How = driver.Sweep, driver.How  # noqa: N806

    try:
        from w2s_core.engine.executors.attempt import Attempts
        from w2s_core.runs import Machine

        how = How(Machine(1, device="cpu"))
    except ImportError:  # the older build
        Attempts = import_module("w2s_core.engine.attempt").Attempts  # noqa: N806
        how = How(device="cpu")
    seconds: dict[str, float] = defaultdict(float)
    attempt = Attempts.attempt

    def timed(self: Any, handle: Any) -> Any:
        before = processor_seconds()
        try:
            return attempt(self, handle)
        finally:
            seconds[handle.key] += processor_seconds() - before

    Attempts.attempt = timed  # type: ignore[method-assign]
    store = Store(root)
    sweep = Sweep(load_study(study), store, how)
    sweep.run()
    results = {}
    for trial in sweep.optuna.settled().values():
        (run,) = sweep.plan(sweep.optuna.cell_of(trial)).runs
        for label, target in run.graph.targets.items():
            files = store.manifest(target.key)["files"] if store.has(target.key) else None
            results[f"{trial.number} {label}"] = files
    manifests = {key: store.manifest(key) for key in list(store.keys())}
    return {"seconds": seconds, "results": results, "manifests": manifests}


def _sweeps() -> tuple[Any, Any]:
    """The sweeps' driver and the reader of studies of the build in whose tree this runs, by the name that it has."""
    package = "w2s_sweeps" if Path("sweeps/w2s_sweeps").is_dir() else "sweeps"
    return import_module(f"{package}.driver"), import_module(f"{package}.study_file").load_study


def bound(measured: Mapping[str, Any], wanted: set[str]) -> float:
    """Processor seconds with each content once, and of samples that differ in n the largest."""
    manifests, largest = measured["manifests"], defaultdict[str, float](float)
    for key in wanted:
        spec = (manifests.get(key) or {}).get("spec")
        name = key
        if spec is not None:
            params = {name: value for name, value in spec["params"].items() if name != "n"}
            inputs = json.dumps(list(_contents(spec["inputs"], manifests)))
            name = json.dumps([spec["step"], params, list(spec["inputs"]), inputs, spec["fingerprint"]])
        largest[name] = max(largest[name], measured["seconds"][key])
    return sum(largest.values())


def _contents(inputs: Any, manifests: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    for value in inputs if isinstance(inputs, list) else [inputs]:
        if isinstance(value, str):
            yield sorted((name, entry["sha256"]) for name, entry in manifests[value]["files"].items())
        elif value is not None:
            yield from _contents(value, manifests)


def wanted(part: str, measured: Mapping[str, Any]) -> set[str]:
    """The keys of the steps that count: of the axis over n those that draw the votes, else all."""
    if not part.startswith("votes"):
        return set(measured["seconds"])
    specs = {key: (measured["manifests"].get(key) or {}).get("spec", {}) for key in measured["seconds"]}
    axis = PARTS[part][1]["space"]["stage2.samples"]
    return {
        key
        for key, spec in specs.items()
        if spec.get("step") == "sample" and spec["params"].get("n") in axis and _draws_votes(spec, specs)
    }


def _draws_votes(spec: Mapping[str, Any], specs: Mapping[str, Any]) -> bool:
    """Stage I draws four responses too; of its samples there is one number alone."""
    same = [other for other in specs.values() if other.get("step") == "sample"]
    return len({other["params"].get("n") for other in same if other["inputs"] == spec["inputs"]}) > 1


def run_build(tree: Path, study: Path, root: Path) -> dict[str, Any]:
    """Measure with the code of a tree, in a process of its own."""
    out = root.with_suffix(".json")
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", str(study), str(root), str(out)]
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'sweeps'}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, cwd=tree, stdout=sys.stderr)
    measured: dict[str, Any] = json.loads(out.read_text())
    return measured


def compare(part: str, old: Path, folder: Path, pairs: int) -> str:
    """One line: the figures of a part."""
    study = write_study(folder, part)
    spent: dict[str, list[float]] = {"old": [], "new": []}
    trees = {"old": old, "new": HERE.parent}
    for pair in range(pairs):
        measured = {name: run_build(tree, study, folder / f"{name}{pair}") for name, tree in trees.items()}
        for name, one in measured.items():
            spent[name].append(sum(one["seconds"][key] for key in wanted(part, one)))
        old_files, new_files = measured["old"]["results"], measured["new"]["results"]
        if other := [label for label in old_files if old_files[label] != new_files.get(label)]:
            raise SystemExit(f"{part}: the two builds give other results: {', '.join(other)}")
    before, after = sum(spent["old"]), sum(spent["new"])
    least = bound(measured["old"], wanted(part, measured["old"])) / spent["old"][-1]
    reused = [one.get("reused") for one in measured["new"]["manifests"].values()]
    linked = sum("same_content_as" in one for one in reused if one)
    return (
        f"{part:24} {before / pairs:9.1f} {after / pairs:9.1f} {after / before:7.3f} {least:7.3f}"
        f" {PARTS[part][0]:7.2f} {len(reused):6} {linked:7} {len(reused) - reused.count(None) - linked:9}"
    )


def main() -> None:
    old, parts = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(PARTS)
    machine = platform.processor() or platform.machine()
    head = f"{'processor seconds of':24} {'before':>9} {'now':>9} {'ratio':>7} {'bound':>7} {'at most':>7}"
    lines = [
        f"{machine}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
        f"{head} {'steps':>6} {'linked':>7} {'extended':>9}",
    ]
    print("\n".join(lines), flush=True)
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="w2s-prefixes-") as folder:
            started = time.monotonic()
            lines.append(compare(part, old, Path(folder), pairs=3 if part == "mini_ablation" else 1))
            print(lines[-1], f"  ({time.monotonic() - started:.0f} s)", flush=True)
    if len(parts) == len(PARTS):
        (HERE / "prefixes.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        Path(sys.argv[4]).write_text(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
