"""Trainings that extend each other, preference trainings from one model, threads for a large base: beside a build.

python benchmarks/forks.py [OLD] [--part lengths|preferences|threads] [--pairs N]

OLD is a folder with that build's tree, or a commit (1b95f0f, where none of it was there). Each build computes the same
steps with one worker in a process of its own, in turns; results are compared byte by byte where rounding is the same.
Prints a table and writes benchmarks/forks.txt. `lengths` and `preferences` are processor seconds of the steps. For
`threads` there are seconds of the clock, which other processes on the machine disturb (its load stands beside them),
and the processor seconds of the step's main thread alone, its waiting for the others left out: what the clock would
show if all cores were free and the shares equal.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from w2s_core.engine.processor import processor_name

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = ROOT / "experiments/mini/paper.yaml"
LENGTHS = (75, 150, 300)
BETAS = (0.05, 0.1, 0.5)
SHORT_STAGES = (
    *("weak_sft.max_steps=20", "sft.max_steps=20", "stage2.samples=4", "stage2.keep=0", "stage2.flip=0"),
    *("task.options.train_1=160", "task.options.train_2=160", "task.options.test=2"),
)
"""What gives pairs soon; how good they are does not matter to the time that training on them takes."""
PARTS = {
    "lengths": f"SFT of {', '.join(map(str, LENGTHS))} steps at a constant rate",
    "preferences": f"DPO with beta {', '.join(map(str, BETAS))} and ORPO from one M_plus",
    "threads": "base of 135 M parameters",
}
BIG = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
BIG |= {"num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 2048}
"""The shape of SmolLM2-135M; the weights are random."""


class Clock:
    """A display that notes how long each step took: on the clock, on the processor, and in the main thread alone."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, float]] = {}
        self._started: dict[str, dict[str, float]] = {}

    def begin(self, planned: Any, workers: int) -> None:
        """Nothing."""

    def event(self, event: dict[str, Any]) -> None:
        """A step began, or ended."""
        now = {
            "wall": time.perf_counter(),
            "processor": time.process_time(),
            "main thread": time.thread_time(),
        }
        key = event.get("key", "")
        if event["event"] == "started":
            self._started[key] = now
        elif event["event"] == "finished":
            before = self._started[key]
            self.taken[key] = {name: now[name] - before[name] for name in now}

    def end(self, outcome: Any) -> None:
        """All steps have to have a result."""
        assert outcome.complete, outcome


def graphs(part: str, big: str) -> Iterator[Any]:
    """The experiments of a part, planned."""
    from w2s_core.experiment import load_experiment
    from w2s_core.runs import build_graph

    small = ("evaluation.samples=0", "stage1.iterations=1", "stage2.methods=[]")
    if part == "lengths":
        for steps in LENGTHS:
            fields = ("weak_sft.scheduler=constant", f"weak_sft.max_steps={steps}")
            yield build_graph(load_experiment(EXPERIMENT, (*small, *fields)), "cpu")
    elif part == "preferences":
        for beta in BETAS:
            methods = "[dpo, orpo]" if beta == BETAS[0] else "[dpo]"
            fields = (f"stage2.methods={methods}", f"stage2.dpo.beta={beta}", *SHORT_STAGES)
            yield build_graph(load_experiment(EXPERIMENT, (*small[:2], *fields)), "cpu")
    else:
        fields = (f"strong={big}", "max_new_tokens=48", "sft.max_steps=4", "sft.batch_size=8")
        fields += (
            "task.options.train_1=16",
            "task.options.train_2=32",
            "task.options.test=32",
            "task.options.dev=8",
        )
        yield build_graph(load_experiment(EXPERIMENT, (*small, *fields)), "cpu")


def targets(part: str, graph: Any) -> dict[str, Any]:
    """The steps of a graph that are computed, by label."""
    samples = {
        label.rpartition("/")[2]: handle.inputs["responses"]
        for label, handle in graph.targets.items()
        if label.startswith("greedy/")
    }
    if part == "lengths":
        return {"sft": samples["weak_floor"].inputs["model"]}
    if part == "preferences":
        return {name: samples[name].inputs["model"] for name in ("dpo", "orpo") if name in samples}
    return {"sample": samples["zero_shot"], "sft": samples["ceiling"].inputs["model"]}


def compute(part: str, store: Path, big: str) -> None:
    """Compute a part as a build does, and print what was measured as JSON."""
    from w2s_core.engine import Store, run_graph

    planned = list(graphs(part, big))
    handles = {
        f"{number} {name}: it": handle
        for number, graph in enumerate(planned)
        for name, handle in targets(part, graph).items()
    }
    bases = {ref: source for graph in planned for ref, source in graph.bases.items()}
    runtime: dict[str, Any] = {"bases": bases, "device": "cpu"}
    if part == "threads":
        runtime["threads"] = [1, os.cpu_count()]
    clock, kept = Clock(), Store(store)
    warm_up(kept, runtime)
    run_graph(handles, kept, runtime=runtime, display=clock)
    print(json.dumps({label: measured(kept, handle, clock) for label, handle in handles.items()}))


def warm_up(store: Any, runtime: dict[str, Any]) -> None:
    """Have the libraries imported before the first step is timed."""
    from w2s_core.engine import run_graph
    from w2s_core.experiment import load_experiment
    from w2s_core.runs import build_graph

    fields = (
        "weak_sft.max_steps=1",
        "evaluation.samples=0",
        "task.options.train_1=16",
        "task.options.test=2",
    )
    graph = build_graph(load_experiment(EXPERIMENT, (*fields, "max_new_tokens=2")), "cpu")
    targets = {name: graph.targets[name] for name in graph.targets if name.endswith("/weak_floor")}
    run_graph(targets, store, runtime=runtime | {"bases": graph.bases}, display=Clock())


def measured(store: Any, handle: Any, clock: Clock) -> dict[str, Any]:
    """A result's times, and a digest of what was trained."""
    # Not all files: builds name a base differently in model.json, and the clock stood in training.json.
    content = [
        entry["sha256"] for name, entry in store.manifest(handle.key)["files"].items() if "adapter" in name
    ]
    if handle.name != "sample":
        content += json.loads((store.folder(handle.key) / "training.json").read_text())["log"]
    return clock.taken[handle.key] | {"files": hashlib.sha256(json.dumps(content).encode()).hexdigest()}


def child(tree: Path, part: str, scratch: Path) -> dict[str, Any]:
    """Compute a part with a build in a new store."""
    with tempfile.TemporaryDirectory(dir=scratch) as store:
        done = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).resolve()),
                "--compute",
                part,
                store + "/store",
                str(scratch / "big"),
            ],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_big(folder: Path) -> None:
    """A random base of 135 M parameters, with the tokenizer of the lab."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**BIG, tie_word_embeddings=True)).save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(EXPERIMENT.parent / "bases/strong").save_pretrained(folder)


def compare(tree: Path, part: str, pairs: int, scratch: Path) -> Iterator[str]:
    """Lines about a part: for all its steps together, and for threads each kind by itself."""
    units = ("wall", "main thread") if part == "threads" else ("processor",)
    runs: list[list[dict[str, Any]]] = [[], []]
    loads = []
    for pair in range(pairs):
        for build in (0, 1) if pair % 2 else (1, 0):
            runs[build].append(child((tree, ROOT)[build], part, scratch))
            loads.append(os.getloadavg()[0])
    labels = list(runs[0][0])
    groups = {label: [label] for label in labels} if part == "threads" else {"": labels}
    yield PARTS[part]
    for (name, members), unit in product(groups.items(), units):
        old, new = ([sum(run[label][unit] for label in members) for run in build] for build in runs)
        ratio = statistics.median(b / a for a, b in zip(old, new, strict=True))
        yield (
            f"  {name.partition(':')[0]:9} {unit:12} {statistics.median(old):8.1f} s {statistics.median(new):8.1f} s"
            f"   ratio {ratio:.3f} ({1 / ratio:.2f}x)"
        )
    if part != "threads":
        equal = all(
            a[label]["files"] == b[label]["files"] for a, b in zip(*runs, strict=True) for label in labels
        )
        yield f"  adapters and logs byte for byte equal: {'yes' if equal else 'NO'}"
    yield f"  {pairs} pairs; load of the machine {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("old", nargs="?", default="1b95f0f")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--compute", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compute:
        part, store, big = arguments.compute
        compute(part, Path(store), big)
        return
    sys.path.insert(0, str(ROOT))
    from benchmarks.planning import tree_of

    lines = [f"{processor_name()}, {os.cpu_count()} cores, {platform.platform()}: other build, this build"]
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        tree = tree_of(arguments.old, scratch)
        if "threads" in (arguments.part or PARTS):
            make_big(scratch / "big")
        for part in arguments.part or PARTS:
            for line in compare(tree, part, arguments.pairs, scratch):
                print(line, flush=True)
                lines.append(line)
    if arguments.part is None:
        (ROOT / "benchmarks/forks.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
