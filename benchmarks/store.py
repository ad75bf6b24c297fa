"""Commands on a large store, side by side with another build: processor time, wall time and memory.

python benchmarks/store.py [OLD] [--runs N] [--store FOLDER] [--pairs N]
                       OLD is a folder with that build's tree, or a commit;
                       FOLDER keeps the store for another time (1.5 GB)

The store is that of `benchmarks/tables.py`, a sweep planned by the recipe itself with made-up results, multiplied: its
runs are copied, with their results under keys of their own, to other temperatures. One run in a hundred has lost its
record, so that `gc` has something to take out. Both builds read the same store, and take turns to go first.
"""

import argparse
import json
import os
import platform
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.planning import tree_of  # noqa: E402
from benchmarks.tables import GRID, STUDY, make_store  # noqa: E402
from w2s_core.engine import Store, disk  # noqa: E402
from w2s_core.engine.canonical import digest  # noqa: E402
from w2s_core.engine.processor import processor_name  # noqa: E402
from w2s_core.engine.spec import key_of, map_leaves, spec_inputs  # noqa: E402

PLANNED_SEEDS = 3
RUNS_A_SEED = 3 * 4 * 4 * 7
EXPERIMENT = "experiments/mini/paper.yaml"
KEY = re.compile(r"[0-9a-f]{64}")
LIMIT_S = 300  # processor time
COLUMNS = f"{'':34}{'old: CPU':>10}{'wall':>10}{'memory':>10}{'new: CPU':>10}{'wall':>10}{'memory':>10}"


# The store


def make(folder: Path, runs: int) -> Store:
    """A store of at least that many runs."""
    copies_needed = -(-runs // RUNS_A_SEED)
    store = make_store(folder, seeds=min(copies_needed, PLANNED_SEEDS), grid=GRID)
    with mock.patch.object(disk, "fsync", return_value=None), mock.patch("os.fsync", return_value=None):
        copies = Copies(store)
        for number in range(copies_needed):
            copies.add(number)
        for name in copies.planned:
            store.refs.delete(name)
        for name in list(store.refs.names())[::100]:
            store.refs.delete(name)
    _write_history(store)
    return store


class Copies:
    """Copies of the planned seeds' runs: what hangs on the seed gets a key of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = [(name, store.refs.read(name)) for name in store.refs.names()]
        self._manifests = {key: store.read_manifest(key) for key in [*store.keys()]}
        seeds: dict[str, set[int]] = {}
        for _, record in self._records:
            for key in record["steps"].values():
                seeds.setdefault(key, set()).add(record["seed"])
        self.planned = [name for name, _ in self._records]
        self._shared = {key for key, of in seeds.items() if len(of) > 1}

    def add(self, number: int) -> None:
        """Write the runs of a planned seed and their results once more; copies from `PLANNED_SEEDS` on are new."""
        keys: dict[str, str] = {}
        for name, record in self._records:
            if record["seed"] == number % PLANNED_SEEDS:
                text = json.dumps(record)
                for key in {*KEY.findall(text)} & self._manifests.keys():
                    self._copy(key, number, keys)
                copied = json.loads(KEY.sub(lambda match: keys.get(match[0], match[0]), text))
                copied["run"] = f"{name}-{number}"
                copied["experiment"]["stage1"]["temperature"] = 1 + number // PLANNED_SEEDS / 10
                self._store.refs.write(copied["run"], copied | copied["bases"])  # which 1b95f0f reads there

    def _copy(self, key: str, number: int, keys: dict[str, str]) -> str:
        """The copy's key; a result that seeds share, and one of the planned seeds, is its own copy."""
        if key in self._shared or number < PLANNED_SEEDS:
            return key
        if key not in keys:
            manifest = self._manifests[key]
            spec = dict(manifest["spec"])
            for parent in spec_inputs(spec):
                self._copy(parent, number, keys)
            spec["inputs"] = map_leaves(spec["inputs"], lambda parent: keys.get(parent, parent))
            spec["params"] = {**spec["params"], "copy": number}
            keys[key] = key_of(spec)
            self._write(
                key,
                {
                    **manifest,
                    "spec": {**spec, **({"key": keys[key]} if "key" in spec else {})},
                    "key": keys[key],
                },
            )
        return keys[key]

    def _write(self, key: str, manifest: dict[str, Any]) -> None:
        del manifest["digest"]
        folder = self._store.folder(manifest["key"])
        shutil.copytree(self._store.folder(key), folder)
        text = json.dumps({**manifest, "digest": digest(manifest)}, indent=1, sort_keys=True)
        (folder / "manifest.json").write_text(text + "\n")


def _write_history(store: Store) -> None:
    """As many durations as a store keeps."""
    lines = (
        json.dumps({"step": "sft", "shape": digest(number // 20)[:16], "seconds": 10.0, "bytes": 100_000})
        for number in range(20_000)
    )
    (store.root / "history.jsonl").write_text("\n".join(lines) + "\n")


# What is measured


@dataclass(frozen=True)
class Cost:
    """Of one process: processor seconds, seconds, and the most memory it held."""

    cpu: float
    wall: float
    megabytes: float


def w2s(tree: Path, *arguments: str) -> Cost | None:
    """Run a command of a build; None where it needs more than `LIMIT_S`."""
    scripts = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["w2s"].partition(":")
    program = f"import sys; sys.argv[0] = 'w2s'; from {module} import {function}; sys.exit({function}())"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # No thread runs here, which could hold a lock when the process forks.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S)),  # noqa: PLW1509
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        return None
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, ["w2s", *arguments])
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - started, used.ru_maxrss / 1000)


def compare(trees: tuple[Path, Path], pairs: int, *arguments: str) -> list[list[Cost | None]]:
    """The costs for each build."""
    costs: list[list[Cost | None]] = [[], []]
    for pair in range(pairs):
        for build in (0, 1) if pair % 2 else (1, 0):
            costs[build].append(w2s(trees[build], *arguments))
    return costs


def line(title: str, old: list[Cost | None], new: list[Cost | None]) -> str:
    """A row of the table: the median processor time and wall time of both builds."""
    return f"{title:34}{_cell(old)}{_cell(new)}".rstrip()


def _cell(costs: list[Cost | None]) -> str:
    known = [cost for cost in costs if cost]
    if not known:
        return f"{f'over {LIMIT_S}' if costs else '-':>10}{'':20}"
    cpu, wall, memory = (
        statistics.median(getattr(cost, name) for cost in known) for name in ("cpu", "wall", "megabytes")
    )
    return f"{cpu:8.2f} s{wall:8.2f} s{memory:7.0f} MB"


def on_store(trees: tuple[Path, Path], folder: Path, out: Path, pairs: int) -> Iterator[str]:
    """The rows of the commands on the store."""
    store = Store(folder)
    first = next(iter(store.refs.names()))
    at = ("--store", str(folder))
    for title, arguments in (("runs", ("runs",)), ("gc --dry-run", ("gc", "--dry-run"))):
        (folder / "index.json").unlink(missing_ok=True)
        yield line(f"{title}, no index yet", [], [w2s(trees[1], *at, *arguments)])
        yield line(title, *compare(trees, pairs, *at, *arguments))
    yield line("show", *compare(trees, pairs, *at, "show", first))
    yield line("plan", *compare(trees, pairs, *at, "plan", EXPERIMENT))
    empty = ("--store", str(out / "empty"))
    yield line("plan, empty store", *compare(trees, pairs, *empty, "plan", EXPERIMENT))
    yield line("runs, empty store", *compare(trees, pairs, *empty, "runs"))
    yield line("verify", *compare(trees, 1, *at, "verify"))
    yield line("verify --quick", [], [w2s(trees[1], *at, "verify", "--quick")])
    tables = (*at, "tables", "--study", STUDY, "--out", str(out))
    (folder / "columns.parquet").unlink(missing_ok=True)
    yield line("tables, nothing kept yet", [], [w2s(trees[1], *tables)])
    yield line("tables", *compare(trees, 1, *tables))


def on_rows(trees: tuple[Path, Path], folder: Path) -> Iterator[str]:
    """The rows of data commands, on a hundred thousand rows and on a million, half of them in each of two files."""
    for rows in (100_000, 1_000_000):
        weak, icl = folder / "weak.jsonl", folder / "icl.jsonl"
        for path in (weak, icl):
            _write_rows(path, rows // 2, random.Random(path.name))
        for title, arguments in (
            ("grade", ("grade", "--responses", weak, "--gold", icl)),
            ("agree", ("agree", "--weak", weak, "--icl", icl, "--out", folder / "agreed")),
            ("leaks", ("leaks", "--train", weak, "--eval", icl)),
        ):
            yield line(f"data {title}, {rows:,} rows", *compare(trees, 1, "data", *map(str, arguments)))


def _write_rows(path: Path, rows: int, rng: random.Random) -> None:
    """Questions with responses of some 500 characters."""
    with path.open("w") as file:
        for number in range(rows):
            steps = " ".join(f"{rng.randrange(100)} + {rng.randrange(100)} makes a sum." for _ in range(20))
            answer = rng.randrange(3)
            row = {"id": f"question-{number}", "question": f"{path.name} {steps[:120]}", "gold": str(answer)}
            file.write(json.dumps({**row, "response": f"{steps} #### {answer}"}) + "\n")


def read_options(description: str | None, *, old: str, runs: int, pairs: int) -> argparse.Namespace:
    """The command line of a benchmark that holds another build beside this one on a store, with its defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("old", nargs="?", default=old, help="a folder, or a commit")
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--pairs", type=int, default=pairs)
    return parser.parse_args()


def prepare(options: argparse.Namespace, scratch: Path) -> tuple[tuple[Path, Path], Path]:
    """The trees of both builds, and the store's folder: made where there is none."""
    folder = options.store or scratch / "store"
    if not folder.exists():
        make(folder, options.runs)
    return (tree_of(options.old, scratch), ROOT), folder


def main() -> None:
    """Make the store where there is none, measure, print, and keep the output."""
    options = read_options(__doc__, old="1b95f0f", runs=10_000, pairs=3)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        trees, folder = prepare(options, place)
        store = Store(folder)
        lines = [
            f"old: {options.old}; load {os.getloadavg()[0]:.1f} at the start",
            f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}; {options.pairs} pairs,",
            "of which the medians are told; of verify, tables and data 1. memory: the most that a process held",
            f"{len(list(store.refs.names())):,} runs, {len(list(store.keys())):,} results",
            COLUMNS,
        ]
        print("\n".join(lines))
        for row in chain(on_store(trees, folder, place / "out", options.pairs), on_rows(trees, place)):
            print(row, flush=True)
            lines.append(row)
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
