"""Tables of a large study: a store of a thousand runs, planned by the recipe itself, with made-up results.

python benchmarks/tables.py [OLD]   about four minutes; prints a table beside another build's, a folder or a commit, and
                                    writes benchmarks/tables.txt

The runs are those of a sweep over weak models, seeds, the consistency threshold and both confidence thresholds, judged
on dev, and on test too for the base setting. They share steps as runs of a sweep do. Each distinct step is then given a
result of the right form, with accuracies that are no model's.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WEAK = ("llama", "mistral", "qwen2")
GRID = {
    "consistency": (0.25, 0.5, 0.75, 1.0),
    "keep": (0.5, 0.6, 0.7, 0.8),
    "flip": (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
}
STUDY = "thousand"
REPEATS = 3
ACCURACY = {
    "weak_floor": 0.35,
    "zero_shot": 0.45,
    "full_weak_ft": 0.44,
    "weak_icl": 0.62,
    "weak_ft": 0.55,
    "icl_ft": 0.66,
    "hybrid_ft": 0.65,
    "dpo": 0.67,
    "orpo": 0.64,
    "ceiling": 0.9,
    "agreed": 0.9,
    "weak": 0.33,
    "icl": 0.6,
    "pairs_chosen": 0.78,
    "pairs_rejected": 0.1,
    "vote": 0.6,
}


def cells(seeds: int, grid: Mapping[str, tuple[float, ...]]) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Weak model, seed and thresholds of every run."""
    for weak, seed, values in product(WEAK, range(seeds), product(*grid.values())):
        yield weak, seed, dict(zip(grid, values, strict=True))


def make_store(folder: Path, *, seeds: int = 3, grid: Mapping[str, tuple[float, ...]] | None = None) -> Any:
    """A store with a run for each cell and seed, and a result for every step that these runs need."""
    from w2s_core.engine import Store, disk
    from w2s_core.engine.step import topological
    from w2s_core.runs import GraphBuilder, record

    store, builder, steps, labels = Store(folder), GraphBuilder(), {}, {}
    for weak, seed, values in cells(seeds, GRID if grid is None else grid):
        experiment = _experiment(weak, seed, values)
        final = values["consistency"] == 1.0 and values["keep"] == 0.6 and values["flip"] == 0.8
        graph = builder.build(experiment, judged_on=("dev", "test") if final else ("dev",))
        name = f"{STUDY}-{weak}-{seed}-" + "-".join(f"{value:g}" for value in values.values())
        made = record(graph, name, ["w2s", "sweep", f"{STUDY}.yaml"])
        store.refs.write(name, {**made, "study": STUDY, "started": "2026-01-01T00:00:00+00:00"})
        for label, handle in graph.targets.items():
            labels.setdefault(handle.key, label)
        steps |= {handle.key: handle for handle in topological(graph.targets.values())}
    with mock.patch.object(disk, "fsync", return_value=None):  # nothing here must outlive a power cut
        for key, handle in steps.items():
            if not store.has(key):
                _commit(store, handle, labels.get(key, ""), graph.splits.problems)
    return store


def _experiment(weak: str, seed: int, values: Mapping[str, float]) -> Any:
    from w2s_core.experiment import load_experiment

    base = _loaded.get(weak)
    if base is None:
        where = ROOT / "experiments" / "mini"
        base = _loaded[weak] = load_experiment(where / "paper.yaml", (f"weak={where}/bases/{weak}",))
    stage1 = base.stage1.model_copy(update={"consistency": values["consistency"], "samples": 4})
    stage2 = base.stage2.model_copy(update={"keep": values["keep"], "flip": values["flip"]})
    evaluation = base.evaluation.model_copy(update={"samples": 0, "splits": ("dev", "test")})
    changed = {"seed": seed, "stage1": stage1, "stage2": stage2, "evaluation": evaluation}
    return base.model_copy(update=changed)


_loaded: dict[str, Any] = {}


def _commit(store: Any, handle: Any, label: str, problems: Mapping[str, Any]) -> None:
    import numpy as np

    out = store.begin(handle.key)
    rng = np.random.default_rng(int(handle.key[:12], 16))
    summary: dict[str, Any] = {}
    if handle.name == "grade":
        _write_grades(out / "grades.parquet", label, problems, rng)
    elif handle.name == "contrast":
        _write_pairs(out / "rows.parquet", problems["train_2"])
    else:
        (out / "made.json").write_text(json.dumps({"step": handle.name}))
        summary = {"tokens": 20_000} if handle.name in ("sample", "sft", "prefer") else {}
    store.commit(handle, out, summary, time.time(), 10.0 if handle.name in ("sft", "prefer") else 1.0)


def _write_grades(path: Path, label: str, problems: Mapping[str, Any], rng: Any) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind, _, rest = label.partition("/")
    name = rest.rsplit("/", 1)[-1] if rest else kind
    asked = problems[rest.split("/")[0] if kind in ("greedy", "samples") else "train_2"]
    if name.startswith("pairs_"):
        asked = asked[: len(asked) // 2]
    elif name.startswith("agreed"):
        asked = [one for one, kept in zip(asked, rng.random(len(asked)) < 0.5, strict=True) if kept]
    accuracy = ACCURACY.get(name, ACCURACY.get(name.rpartition("_")[0], 0.5))
    responses = 10 if kind in ("samples", "vote") else 1
    total = len(asked) * responses
    right = rng.random(total) < accuracy + 0.02 * rng.standard_normal()
    offsets = pa.array(np.arange(0, total + 1, responses), pa.int32())

    def lists(values: Any) -> Any:
        return pa.ListArray.from_arrays(offsets, values)

    columns = {
        "id": pa.array([one.id for one in asked]),
        "level": pa.array([one.level for one in asked], pa.int64()),
        "template": pa.array([one.template for one in asked], pa.string()),
        "answers": lists(pa.array(np.where(right, "7", "8"))),
        "verdicts": lists(pa.array(np.where(right, "right", "wrong"))),
        "tokens": lists(pa.array(np.full(total, 40))),
        "finish": lists(pa.array(np.full(total, "eos"))),
    }
    pq.write_table(pa.table(columns), path)


def _write_pairs(path: Path, asked: Any) -> None:
    from w2s_core.rows import write_rows

    kinds = ("weak_chosen", "weak_rejected", "weak_rejected")
    rows = [
        {"id": one.id, "kind": kinds[i % 3], "chosen": "2 + 3 = 5. #### 5", "rejected": "2 + 3 = 6. #### 6"}
        for i, one in enumerate(asked[: len(asked) // 2])
    ]
    write_rows(path, rows)


def measure(folder: Path, out: Path, *, figures: bool) -> dict[str, float]:
    """Seconds and memory of `w2s tables --study` in this process, imports apart.

    CPU seconds too: on a machine that others use, the clock counts their work.
    """
    from w2s_analysis.commands import quicken

    quicken()
    started = time.perf_counter()
    from dataclasses import replace

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import scipy.special  # noqa: F401

    from w2s_analysis.reading.study import make_study, open_frames
    from w2s_analysis.report import report_of, write_report
    from w2s_core.engine import Store

    ready, cpu = time.perf_counter(), time.process_time()
    frames = open_frames(Store(folder), study=STUDY)
    study = make_study(frames, f"w2s tables --study {STUDY}", named=False)
    read = time.perf_counter()
    parts = report_of(study).parts
    undrawn = [replace(part, figure=lambda study: None) for part in parts]
    write_report(study, out, parts if figures else undrawn)
    return {
        "imports": ready - started,
        "reading": read - ready,
        "all": time.perf_counter() - ready,
        "CPU": time.process_time() - cpu,
        "GB": _peak() / 1e9,
        "runs": len(frames.records),
        "read": frames.results.read,
    }


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def fresh(tree: Path, folder: Path, out: Path, *, figures: bool) -> dict[str, float]:
    """`measure` of a build, in a process of its own."""
    command = [
        sys.executable,
        "benchmarks/tables.py",
        str(folder),
        str(out),
        *(["--figures"] if figures else []),
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, cwd=tree, env=environment)
    return json.loads(done.stdout)


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """Of several processes, that with the median CPU time."""
    return sorted(runs, key=lambda run: run["CPU"])[len(runs) // 2]


def compare(
    trees: tuple[Path, Path], folder: Path, out: Path, *, figures: bool, again: bool = False
) -> list[dict[str, float]]:
    """Both builds on one store, taking turns: into a new folder each time, or `again` into that of an earlier one."""
    runs: tuple[list[dict[str, float]], ...] = ([], [])
    for pair in range(-again, REPEATS):
        for build in (0, 1) if pair % 2 else (1, 0):
            place = out / str(build) if again else out / f"{build}-{figures}-{pair}"
            measured = fresh(trees[build], folder, place, figures=figures)
            if pair >= 0:
                runs[build].append(measured)
    return [median(of_build) for of_build in runs]


def line(title: str, measured: list[dict[str, float]]) -> str:
    """A row of the table."""
    cells = "".join(f"{build['CPU']:8.2f} s {build['GB']:6.2f} GB" for build in measured)
    return f"{title:32}{cells}{measured[1]['CPU'] / measured[0]['CPU']:8.2f}"


def main() -> None:
    """Make the store, measure, print, and keep the output."""
    from benchmarks.planning import tree_of
    from w2s_core.engine.processor import processor_name

    old = sys.argv[1] if len(sys.argv) > 1 else "1b95f0f"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        trees = tree_of(old, folder), ROOT
        load = os.getloadavg()[0]
        started = time.perf_counter()
        store = make_store(folder / "store")
        made = time.perf_counter() - started
        results = len(list(store.keys()))
        time.sleep(3)  # what has just been written is not kept yet
        first = fresh(ROOT, folder / "store", folder / "first", figures=False)
        plain, drawn = (
            compare(trees, folder / "store", folder / "out", figures=figures) for figures in (False, True)
        )
        redone = compare(trees, folder / "store", folder / "out", figures=True, again=True)
        again = fresh(ROOT, folder / "store", folder / "again", figures=False)
        same = all(
            path.read_bytes() == (folder / "again" / path.name).read_bytes()
            for path in (folder / "first").iterdir()
        )
    lines = [
        f"old: {old}; load {load:.1f} at the start",
        (
            f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}; CPU seconds without "
            f"imports, median of {REPEATS} pairs"
        ),
        f"{again['runs']} runs of {results} results (made in {made:.0f} s), {again['read']} graded sets",
        f"{'':32}{'old':>10}{'':9}{'new':>11}{'ratio':>16}",
        f"{'tables, nothing kept yet':32}{'':19}{first['CPU']:8.2f} s {first['GB']:6.2f} GB",
        line("tables", plain),
        line("tables and figures", drawn),
        line("the same report again", redone),
        f"the same bytes with what was kept: {'yes' if same else 'NO'}",
    ]
    print("\n".join(lines))
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), figures="--figures" in sys.argv)))
    else:
        main()
