"""Seconds from a command to its answer: `--help` of every command, and `--json` on a store of a thousand runs.

python benchmarks/answers.py   about two minutes; prints a table and writes benchmarks/answers.txt

The store is that of `benchmarks/tables.py`. Every command runs in a process of its own, as it is typed, five times
after a first that does not count: by the clock, start to end.
"""

import os
import platform
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from w2s_core.engine.processor import processor_name

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.demo import seconds  # noqa: E402
from benchmarks.tables import STUDY, make_store  # noqa: E402

TIMES = 5
A, B = f"{STUDY}-llama-0-1-0.6-0.8", f"{STUDY}-llama-0-1-0.6-0.75"
ASKED = {
    "runs": "runs",
    "runs, a column of accuracy, sorted": "runs --accuracy greedy/test/dpo --sort greedy/test/dpo --reverse",
    "show": f"show {A}",
    "plan": f"plan {ROOT}/experiments/mini/paper.yaml",
    "compare": f"compare {A} {B}",
    "tables of two runs": f"tables --runs {A} {B}",
}
"""What is asked with `--json`."""


def command_names() -> list[str]:
    """Every command of `w2s`."""
    from w2s_core.cli.main import w2s

    context = w2s.make_context("w2s", ["runs"], resilient_parsing=True)
    return w2s.list_commands(context)


def taken(arguments: str, store: Path) -> list[float]:
    """Seconds of a command, each time. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "w2s", "--store", str(store), *shlex.split(arguments)]
    return [seconds(command) for _ in range(TIMES + 1)][1:]


def row(title: str, times: list[float]) -> str:
    """A line of the table."""
    return f"{title:34}{statistics.median(times):8.2f}{min(times):8.2f}{max(times):8.2f}"


def main() -> None:
    """Measure, print, and keep the output."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "store"
        runs = len(list(make_store(store).refs.names()))
        load = os.getloadavg()[0]
        lines = [
            f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}; load {load:.1f}",
            f"seconds by the clock, {TIMES} times; a store of {runs:,} runs",
            f"{'':34}{'median':>8}{'least':>8}{'most':>8}",
        ]
        for title, asked in ASKED.items():
            lines.append(row(title, taken(f"{asked} --json", store)))
        helped = {name: taken(f"{name} --help", store) for name in command_names()}
        slowest = max(helped, key=lambda name: statistics.median(helped[name]))
        lines.append(row(f"--help, slowest of {len(helped)}: {slowest}", helped[slowest]))
    print("\n".join(lines))
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
