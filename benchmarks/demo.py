"""The command line and the demo as a user meets them: start-up, a whole run on two cores, memory, a second run.

python benchmarks/demo.py        about six minutes; prints a table and writes benchmarks/demo.txt
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from w2s_core.engine.processor import processor_name

HERE = Path(__file__).resolve().parent
CORES = 2
HELP_REPEATS = 15


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def tree_memory(root: int) -> int:
    """Bytes held by a process and all below it: the sum of their proportional set sizes."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= grown
    return sum(_memory(pid) for pid in family)


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def run(command: list[str]) -> tuple[float, int]:
    """Wall seconds of a command and the most memory that its processes held together (sampled once a second)."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(1.0):
            most = max(most, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return time.perf_counter() - started, most


def main() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    store = Path(tempfile.mkdtemp(prefix="w2s-demo-"))
    w2s = [str(Path(sys.executable).with_name("w2s")), "--store", str(store)]
    demo = [*w2s, "run", str(HERE.parent / "experiments/mini/paper.yaml"), "--workers", str(CORES)]
    demo += ["--out", str(store / "out")]
    bare, start = [], []
    for _ in range(HELP_REPEATS):
        bare.append(seconds([sys.executable, "-c", "pass"]))
        start.append(seconds([w2s[0], "--help"]))
    try:
        first, memory = run(demo)
        again, _ = run(demo)
    finally:
        shutil.rmtree(store, ignore_errors=True)
    lines = [
        f"{processor_name()}, {CORES} cores, Python {platform.python_version()}",
        f"w2s --help                     {statistics.median(start):8.3f} s",
        f"python -c pass                 {statistics.median(bare):8.3f} s",
        f"the demo, empty store          {first:8.1f} s",
        f"the demo again                 {again:8.1f} s",
        f"most memory, all processes     {memory / 1e9:8.2f} GB",
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (HERE / "demo.txt").write_text(text)


if __name__ == "__main__":
    main()
