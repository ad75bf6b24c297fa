"""The shipped ablation, 3 weak models x 4 thresholds x {DPO, ORPO}, as one sweep against a loop of 24 pipelines.

python benchmarks/sweep.py        about ten minutes on 4 idle cores; prints a table and writes benchmarks/sweep.txt

Both sides do the same work on a smaller sample (SMALLER), in one process after another, so that the ratios are of the
steps alone. The loop gives each pipeline a store of its own: nothing is shared.
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from w2s_core.engine import Store, run_graph
from w2s_core.runs import Machine
from w2s_sweeps.driver import How, Sweep
from w2s_sweeps.optuna_study import OptunaStudy
from w2s_sweeps.study_file import load_study

HERE = Path(__file__).resolve().parent
STUDY = HERE.parent / "sweeps" / "mini_ablation.yaml"
SMALLER = {
    "task.options": {"train_1": 200, "train_2": 200, "dev": 100, "test": 10},
    "weak_sft.max_steps": 60,
    "sft.max_steps": 20,
}
WORKERS = 4
MANY = 100


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process's CPU time: other work on the machine disturbs the latter less."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu


def write_study(folder: Path) -> Path:
    """The shipped study on a smaller sample, without a look at test."""
    fields = yaml.safe_load(STUDY.read_text())
    fields["base"] = str((STUDY.parent / fields["base"]).resolve())
    fields["space"]["weak"] = [str((STUDY.parent / base).resolve()) for base in fields["space"]["weak"]]
    fields |= {"fixed": fields["fixed"] | SMALLER, "test": "none"}
    path = folder / "study.yaml"
    path.write_text(json.dumps(fields))
    return path


def sweep(path: Path, store: Path, workers: int) -> tuple[float, float, float]:
    """Seconds of a whole sweep, its CPU seconds in this process, and the seconds spent in Optuna."""
    spent = [0.0]

    def timed(name: str) -> Callable[..., object]:
        method = getattr(OptunaStudy, name)

        def call(*args: object, **kwargs: object) -> object:
            started = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - started

        return call

    originals = {name: getattr(OptunaStudy, name) for name in ("__init__", "finish", "next_slots")}
    for name in originals:
        setattr(OptunaStudy, name, timed(name))
    try:
        took, cpu = clock(
            lambda: Sweep(load_study(path), Store(store), How(Machine(workers, device="cpu"))).run()
        )
    finally:
        for name, method in originals.items():
            setattr(OptunaStudy, name, method)
    return took, cpu, spent[0]


def loop(path: Path, folder: Path) -> tuple[float, float, int]:
    """Seconds, CPU seconds and steps of as many independent pipelines, one after the other."""
    took, cpu, steps = 0.0, 0.0, 0
    planning = Sweep(load_study(path), Store(folder / "plan"), How(dry_run=True))
    for number, cell in enumerate(planning.planner.space.cells()):
        (run,) = planning.plan(cell).runs
        store = Store(folder / f"loop-{number}")
        runtime = {"bases": run.graph.bases, "device": "cpu"}
        seconds, of_cpu = clock(partial(run_graph, run.graph.targets, store, runtime=runtime))
        took, cpu = took + seconds, cpu + of_cpu
        steps += len(list(store.keys()))
        print(f"pipeline {number + 1}: {took:.0f} s so far", file=sys.stderr)
        shutil.rmtree(store.root)
    return took, cpu, steps


def sharing(path: Path, store: Store) -> list[str]:
    """Steps and seconds of the sweep by how many trials need them, and the ratio that follows for one worker.

    A pipeline by itself computes all of its steps, the sweep each once: no order and no scheduler can gain more. The
    steps of one threshold are those of two trials, so the last line says what would be left if thresholds were free.
    """
    planning = Sweep(load_study(path), store, How(dry_run=True))
    needed = Counter(
        key
        for cell in planning.planner.space.cells()
        for run in planning.plan(cell).runs
        for key in run.steps
    )
    seconds = {key: store.manifest(key)["duration_s"] for key in needed}
    lines = ["steps that so many trials need           distinct    seconds   seconds of all alone"]
    for trials in sorted(set(needed.values()), reverse=True):
        keys = [key for key in needed if needed[key] == trials]
        spent = sum(seconds[key] for key in keys)
        lines.append(f"{trials:4} {len(keys):44} {spent:10.1f} {trials * spent:12.1f}")
    for name, keys in (
        ("all", [*needed]),
        ("without a threshold's", [key for key in needed if needed[key] != 2]),
    ):
        steps = sum(needed[key] for key in keys) / len(keys)
        time = sum(needed[key] * seconds[key] for key in keys) / sum(seconds[key] for key in keys)
        lines.append(f"the most to gain with 1 worker, {name}: {steps:.2f} in steps, {time:.2f} in seconds")
    return lines


def planning(folder: Path) -> tuple[float, float]:
    """Seconds and bytes of a dry run of 10,000 trials, the start of Python included."""
    path = write_study(folder)
    fields = json.loads(path.read_text())
    fields["space"] = {
        "stage1.consistency": {"low": 0.01, "high": 1.0, "step": 1 / MANY},
        "stage2.keep": {"low": 0.02, "high": 1.0, "step": 0.02},
        "stage2.methods": [["dpo"], ["orpo"]],
    }
    path.write_text(json.dumps(fields))
    command = [
        sys.executable,
        "-m",
        "w2s_core.cli",
        "--store",
        str(folder / "many"),
        "sweep",
        str(path),
        "--dry-run",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    took, _ = clock(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=HERE.parent))
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert most > before, "an earlier child was larger: measure planning first"
    return took, most * 1024


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="w2s-sweep-"))
    os.environ["OMP_NUM_THREADS"] = "1"
    load = os.getloadavg()[0]
    try:
        planned, memory = planning(folder)
        path = write_study(folder)
        import w2s_core.sampling
        import w2s_core.training  # noqa: F401 - loaded here, so that no side pays for it

        many, _, _ = sweep(path, folder / "many-workers", WORKERS)
        single, one_cpu, optuna_cost = sweep(path, folder / "one-worker", 1)
        store = Store(folder / "one-worker")
        manifests = [store.manifest(key) for key in sorted(store.keys())]
        shared = sharing(path, store)
        bound = sum(manifest["duration_s"] for manifest in manifests)
        alone, alone_cpu, steps = loop(path, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start",
        "                                             seconds  CPU seconds   steps",
        f"24 pipelines, one after the other          {alone:10.1f}   {alone_cpu:10.1f}  {steps:6}",
        f"the sweep, 1 worker                        {single:10.1f}   {one_cpu:10.1f}  {len(manifests):6}",
        f"the sweep, {WORKERS} workers                       {many:10.1f}                {len(manifests):6}",
        f"summed durations of its distinct steps     {bound:10.1f}",
        "",
        f"pipelines / sweep, 1 worker                {alone / single:10.2f}   {alone_cpu / one_cpu:10.2f}",
        f"pipelines / sweep, {WORKERS} workers               {alone / many:10.2f}",
        f"steps of pipelines / of the sweep          {steps / len(manifests):10.2f}",
        f"sweep, 1 worker / summed steps             {single / bound:10.3f}",
        f"1 worker / {WORKERS} workers                       {single / many:10.2f}",
        f"Optuna's share of the sweep, 1 worker      {100 * optuna_cost / single:9.2f}%",
        f"planning 10,000 trials                     {planned:9.1f} s, {memory / 1e9:.2f} GB, Python's start included",
        "",
        *shared,
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (HERE / "sweep.txt").write_text(text)


if __name__ == "__main__":
    main()
