"""Commands on a large store, side by side with another build: processor time, wall time and memory.

python benchmarks/store.py [OLD] [--runs N]   OLD is a folder with that build's tree, or a commit. 10,000 runs need some
                                              1.5 GB in the folder for temporary files, and the better part of an hour

The store is that of `benchmarks/tables.py`, a sweep planned by the recipe itself with made-up results, multiplied: each
further seed is a copy of a planned seed under keys of its own, with its own share of the results. One run in a hundred
has lost its record, so that `gc` has something to take out. Both builds read the same store.
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
PAIRS = 3
LIMIT_S = 300  # processor time


# The store


def make(folder: Path, runs: int) -> Store:
    """A store of at least that many runs."""
    seeds = -(-runs // RUNS_A_SEED)
    store = make_store(folder, seeds=min(seeds, PLANNED_SEEDS), grid=GRID)
    with mock.patch.object(disk, "fsync", return_value=None), mock.patch("os.fsync", return_value=None):
        copies = Copies(store)
        for seed in range(PLANNED_SEEDS, seeds):
            copies.add(seed)
        for name in list(store.refs.names())[::100]:
            store.refs.delete(name)
    _write_history(store)
    return store


class Copies:
    """Copies of the planned seeds' runs: what hangs on the seed gets a key of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = [(name, store.refs.read(name)) for name in store.refs.names()]
        self._manifests = {key: store.read_manifest(key) for key in store.keys()}
        seeds: dict[str, set[int]] = {}
        for _, record in self._records:
            for key in record["steps"].values():
                seeds.setdefault(key, set()).add(record["seed"])
        self._shared = {key for key, of in seeds.items() if len(of) > 1}

    def add(self, seed: int) -> None:
        """Write the runs and results of another seed."""
        keys: dict[str, str] = {}
        for name, record in self._records:
            if record["seed"] == seed % PLANNED_SEEDS:
                text = json.dumps(record)
                for key in {*KEY.findall(text)} & self._manifests.keys():
                    self._copy(key, seed, keys)
                copied = json.loads(KEY.sub(lambda match: keys.get(match[0], match[0]), text))
                _, weak, _, *rest = name.split("-")
                copied |= {"seed": seed, "run": "-".join((STUDY, weak, str(seed), *rest))}
                copied["experiment"]["seed"] = seed
                self._store.refs.write(copied["run"], copied)

    def _copy(self, key: str, seed: int, keys: dict[str, str]) -> str:
        """The copy's key; a result that seeds share is its own copy."""
        if key in self._shared:
            return key
        if key not in keys:
            manifest = self._manifests[key]
            spec = dict(manifest["spec"])
            for parent in spec_inputs(spec):
                self._copy(parent, seed, keys)
            spec["inputs"] = map_leaves(spec["inputs"], lambda parent: keys.get(parent, parent))
            spec["params"] = {**spec["params"], "copy": seed}
            keys[key] = key_of(spec)
            self._write(key, {**manifest, "spec": {**spec, **({"key": keys[key]} if "key" in spec else {})}, "key": keys[key]})
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


