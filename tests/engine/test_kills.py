"""Whole process groups killed at random moments, again and again on one store: nothing lost, wrong, redone or stuck."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.harness import results
from tests.engine.toy import slow, total
from w2s_core.engine import Handle, Store, run_graph

pytestmark = pytest.mark.slow
STORES, KILLS = 20, 10
DRIVER = """
import sys
from pathlib import Path
from tests.engine.test_kills import run
run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
"""


def targets() -> dict[str, Handle]:
    leaves = [slow(seconds=0.1 + i / 100, name=f"leaf{i}", naps=2) for i in range(12)]
    return {str(i): total(parts=leaves[i : i + 4], seed=i) for i in range(8)}


def run(root: Path, log: Path, workers: int) -> None:
    assert run_graph(targets(), Store(root), workers=workers, runtime={"log": str(log)}).complete


def start(root: Path, log: Path, workers: int) -> "subprocess.Popen[bytes]":
    """In a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root), str(log), str(workers)], start_new_session=True
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store that nothing befell, and the seconds that its command took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    assert start(folder / "store", folder / "log.txt", 1).wait() == 0
    return folder / "store", time.monotonic() - began


@pytest.mark.parametrize("seed", range(STORES))
def test_process_groups_killed_at_random_moments(
    tmp_path: Path, undisturbed: tuple[Path, float], seed: int
) -> None:
    """With two workers and with none in turns; then the command runs to its end."""
    whole, seconds = undisturbed
    moments, root, log = random.Random(seed), tmp_path / "store", tmp_path / "log.txt"
    before: dict[str, tuple[object, int]] = {}
    met = 0
    for kill in range(KILLS):
        process = start(root, log, 1 + kill % 2)
        time.sleep(moments.uniform(0.1, 0.7) * seconds)
        met += process.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after = results(root)
        assert before.items() <= after.items(), "nothing is lost or computed again"
        before = after
    assert start(root, log, 2).wait(timeout=120) == 0, "stuck"
    after = results(root)
    assert before.items() <= after.items()
    expected = {key: files for key, (files, _) in results(whole).items()}
    assert {key: files for key, (files, _) in after.items()} == expected
    assert list(Store(root).verify()) == []
    assert met, "kills should meet a living command"
    print(f"{met} of {KILLS} kills met a living command")
