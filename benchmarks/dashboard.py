"""The dashboard's first row in a real browser, side by side with another build.

python benchmarks/dashboard.py [OLD] [--runs N] [--store FOLDER] [--pairs N]
                       OLD is a folder with that build's tree, or a commit;
                       FOLDER keeps the store for another time

The store is that of `benchmarks/store.py`. Each build serves it in a process of its own; their pages are opened in turn
in one Chromium, and the seconds run from the address to the first row of the table. The first visit to a server, which
loads what pages share, is told apart; the others are told by their median.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.store import prepare, read_options  # noqa: E402
from w2s_core.engine import Store  # noqa: E402
from w2s_core.engine.processor import processor_name  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MEASURING_S = 60
"""How long a server may read results before its page says that none is left."""


@contextmanager
def serving(tree: Path, store: Path) -> Iterator[str]:
    """A build's dashboard on a store, and its page's address."""
    places = [tree, tree / "analysis", tree / "sweeps"]
    process = subprocess.Popen(
        [sys.executable, "-m", "w2s_analysis.dashboard"],
        cwd=tree, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"W2S_STORE": str(store), "PYTHONPATH": os.pathsep.join(map(str, places))},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[1]
    finally:
        process.terminate()
        process.wait()


def visit(context: Any, address: str) -> float:
    """Seconds from the address to the first row."""
    page = context.new_page()
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(".tabulator-row")
    seconds = time.perf_counter() - began
    page.close()
    return seconds


def wait_until_read(context: Any, address: str) -> None:
    """Until the server has read all results."""
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".tabulator-row")
    page.wait_for_function(
        "() => !document.body.innerText.includes('still to read')", timeout=1000 * MEASURING_S
    )
    page.close()


def compare(trees: tuple[Path, Path], store: Path, pairs: int) -> tuple[list[list[float]], str]:
    """The seconds of each build's visits, the first ones first; and the browser's version."""
    from playwright.sync_api import sync_playwright

    seconds: list[list[float]] = [[], []]
    with sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        addresses = []
        for tree, visits in zip(trees, seconds, strict=True):
            addresses.append(stack.enter_context(serving(tree, store)))
            visits.append(visit(context, addresses[-1]))
            wait_until_read(context, addresses[-1])
        for pair in range(pairs):
            for which in (0, 1) if pair % 2 else (1, 0):
                seconds[which].append(visit(context, addresses[which]))
        return seconds, browser.version


def line(title: str, visits: list[float]) -> str:
    """A row of the output."""
    later = sorted(visits[1:])
    return f"{title:8}{visits[0]:10.2f}{statistics.median(later):10.2f}{later[0]:10.2f}{later[-1]:10.2f}"


def main() -> None:
    """Make the store where there is none, measure, print, and keep the output."""
    options = read_options(__doc__, old="063bfdc", runs=1_000, pairs=9)
    if CHROMIUM is None:
        sys.exit("no chromium on the path (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as scratch:
        trees, folder = prepare(options, Path(scratch))
        load = os.getloadavg()[0]
        seconds, version = compare(trees, folder, options.pairs)
        runs = len(list(Store(folder).refs.names()))
        lines = [
            f"old: {options.old}; load {load:.1f} at the start",
            f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}, Chromium {version}",
            f"{runs:,} runs, {options.pairs} pairs; seconds from the address to the first row",
            f"{'':8}{'first':>10}{'median':>10}{'least':>10}{'most':>10}",
            *(line(title, visits) for title, visits in zip(("old", "new"), seconds, strict=True)),
        ]
    print("\n".join(lines))
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
