"""Killed or refused at a touch of a file, in the driver of two workers or in one of them: the same command goes on."""

import json
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.engine.harness import STRIKES, Fault, in_child, results
from tests.engine.toy import number, total
from w2s_core.engine import Store, run_graph
from w2s_core.errors import UserError

IMPORTS = {"modules": ["tests.engine.fault_by_environment"], "paths": []}
TARGET = {"it": total(parts=[number(n=2), number(n=3)])}
PARTS = 4  # of a loop that would take too long for one test
EVERY = {"kill": 1, "EIO": 1, "ENOSPC": 2, "EACCES": 2}
TOUCHES = {"driver": 22, "worker": 60}
"""At least; how many there are depends on which worker takes which step."""


def run(root: Path) -> None:
    """As the command does; that it stops with a line, or with what the command makes a line of, is no fault."""
    with suppress(UserError, OSError):
        run_graph(TARGET, Store(root), workers=2, imports=IMPORTS)


def faulty(root: Path, marker: Path, where: str, strike: str, n: int) -> None:
    if where == "driver":
        Fault(root, n, partial(STRIKES[strike], marker)).arm()
    else:
        os.environ["W2S_TEST_FAULT"] = json.dumps([str(root), n, strike, str(marker)])
    run(root)


def assert_survives(folder: Path, where: str, strike: str, n: int) -> bool:
    """Returns whether there was such a touch."""
    root, marker = folder / f"{where}-{strike}-{n}", folder / f"{where}-{strike}-{n}.struck"
    Store(root)
    code = in_child(partial(faulty, root, marker, where, strike, n))
    assert code == 0 or (strike == "kill" and where == "driver"), (strike, n)
    assert list(Store(root).verify()) == [], (strike, n)
    before = results(root)
    assert in_child(partial(run, root)) == 0
    after = results(root)
    assert before.items() <= after.items(), "no finished step is computed again"
    assert {key: files for key, (files, _) in after.items()} == expected(folder), (strike, n)
    shutil.rmtree(root)
    return marker.exists()


def expected(folder: Path) -> dict[str, object]:
    """What an undisturbed run gives, by key."""
    root = folder / "undisturbed"
    if not root.exists():
        assert run_graph(TARGET, Store(root)).complete
    return {key: files for key, (files, _) in results(root).items()}


@pytest.mark.parametrize(
    ("where", "strike", "n"), [("driver", "kill", 9), ("worker", "kill", 24), ("worker", "EIO", 33)]
)
def test_a_fault_at_some_touches_of_a_file(tmp_path: Path, where: str, strike: str, n: int) -> None:
    assert assert_survives(tmp_path, where, strike, n)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, PARTS + 1))
@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("where", TOUCHES)
def test_a_fault_at_every_touch_of_a_file(tmp_path: Path, where: str, strike: str, first: int) -> None:
    n = first
    while assert_survives(tmp_path, where, strike, n):
        n += PARTS * EVERY[strike]
    assert n > TOUCHES[where], "there should have been more touches"
