"""Planning, the demo, and the demo with all results cached, side by side with another build: processor time.

python benchmarks/planning.py [OLD]   OLD is a folder with that build's tree, or a commit. The demo is computed by both
                                      builds at the same time, so that both meet the same machine.

Prints a table and writes benchmarks/planning.txt. Processor time, since the clock counts what else the machine does;
the builds take turns to go first (the whole demo is one pair), and what is told are medians, and the smallest of each.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from w2s_core.engine.processor import processor_name

ROOT = Path(__file__).resolve().parents[1]
PAIRS = 7
EXPERIMENT = "experiments/mini/paper.yaml"
RUN = ("run", EXPERIMENT, "--name", "demo", "--workers", "2")


def tree_of(build: str, scratch: Path) -> Path:
    """The folder of a build; a commit's tree is written into `scratch`."""
    if Path(build).is_dir():
        return Path(build).resolve()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", build], check=True, stdout=subprocess.PIPE
    ).stdout
    (scratch / "tree").mkdir()
    subprocess.run(["tar", "-x", "-C", str(scratch / "tree")], input=archive, check=True)
    return scratch / "tree"


def w2s(tree: Path, store: Path, *arguments: str) -> float:
    """Run a command of a build; the processor seconds of it and its children, as it counts them itself."""
    scripts = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["w2s"].partition(":")
    program = (
        f"import atexit, os, sys; sys.argv[0] = 'w2s'; from {module} import {function}; "
        f"atexit.register(lambda: sys.__stdout__.write(f'\\n{{sum(os.times()[:4])}}')); sys.exit({function}())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--store", str(store), *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


def compare(trees: tuple[Path, Path], stores: tuple[Path, Path], *arguments: str) -> tuple[list[float], ...]:
    """Seconds of each build. One run of each comes first, unmeasured, so that both find their caches."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(-1, PAIRS):
        for build in (0, 1) if pair % 2 else (1, 0):
            taken = w2s(trees[build], stores[build], *arguments)
            if pair >= 0:
                seconds[build].append(taken)
    return seconds


def line(title: str, old: list[float], new: list[float]) -> str:
    medians = [statistics.median(seconds) for seconds in (old, new)]
    return (
        f"{title:24} {medians[0]:8.2f} s {medians[1]:8.2f} s {medians[1] / medians[0]:8.2f}"
        f"    {min(old):8.2f} s {min(new):8.2f} s {min(new) / min(old):8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("old", nargs="?", default="1b95f0f", help="a folder, or a commit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        trees = tree_of(options.old, place), ROOT
        stores = place / "old", place / "new"
        run = (*RUN, "--out", str(place / "out"))
        with ThreadPoolExecutor() as pool:
            first = list(pool.map(lambda build: w2s(trees[build], stores[build], *run), (0, 1)))
        empty = (place / "empty", place / "empty")
        plan, again = compare(trees, empty, "plan", EXPERIMENT), compare(trees, stores, *run)
    lines = [
        f"old: {options.old}",
        f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}; {PAIRS} pairs",
        f"{'processor time':24} {'old':>10} {'new':>10} {'ratio':>8}    {'least':>10} {'least':>10} {'ratio':>8}",
        line("w2s plan, empty store", *plan),
        line("the demo, empty store", [first[0]], [first[1]]),
        line("the demo, all cached", *again),
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (ROOT / "benchmarks/planning.txt").write_text(text)


if __name__ == "__main__":
    main()
