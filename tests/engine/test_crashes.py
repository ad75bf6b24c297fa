"""Killed or out of space at any moment: afterwards the old state or the new one, and the same command goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from tests.engine.harness import Fault, die, in_child, no_space
from tests.engine.toy import executions, number, resuming, total, value, writes
from w2s_core.engine import DiskFullError, Store, collect, run_graph
from w2s_core.errors import UserError

TARGET = {"it": total(parts=[number(n=2)])}
KEYS = {number(n=2).key, TARGET["it"].key}
ANSWER = 2


def run(store: Store, log: Path) -> None:
    run_graph(TARGET, store, runtime={"log": str(log)})


def assert_whole(root: Path) -> set[str]:
    """Every result that can be seen is whole. Returns their keys."""
    store = Store(root)
    assert list(store.verify()) == []
    return {key for key in KEYS if store.has(key)}


def assert_goes_on(root: Path, log: Path, survived: set[str]) -> None:
    """The same command finishes, computes nothing that had survived, and leaves nothing behind but results."""
    before = len(executions(log))
    outcome = run_graph(TARGET, Store(root), runtime={"log": str(log)})
    assert outcome.complete
    assert value(Store(root).path(TARGET["it"].key)) == ANSWER
    if TARGET["it"].key not in survived:
        assert len(executions(log)) - before == 2 - len(survived)
    half_made = {path.name.split(".")[0] for path in (root / "tmp").iterdir() if path.is_dir()}
    assert half_made <= survived, "what is made anew removes what its dead owner left"
    Store(root).refs.write("run", {"it": TARGET["it"].key})
    collect(Store(root))
    for name in ("work", "sessions", "locks", "quarantine"):
        assert list((root / name).iterdir()) == [], name
    assert [path.name for path in (root / "tmp").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("first", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_every_second_touch_of_a_file(tmp_path: Path, first: int) -> None:
    """Two steps' whole way: session, lock, scratch folder, result, manifest, rename, clearing up."""
    seen = set()
    for n in count(first, 2):
        root, log = tmp_path / f"store{n}", tmp_path / f"log{n}.txt"
        Store(root)

        def work(root: Path = root, log: Path = log, n: int = n) -> None:
            Fault(root, n, die).arm()
            run(Store(root), log)

        code = in_child(work)
        survived = assert_whole(root)
        seen.add(len(survived))
        assert_goes_on(root, log, survived)
        shutil.rmtree(root)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert n > 60, "the harness should have met every file operation"
    assert seen == {0, 1, 2}


def test_no_space_at_every_write(tmp_path: Path) -> None:
    """Each write in turn fails once. Whatever it was, the error is one line or there is none, and nothing is torn."""
    for n in count(1):
        root, log, said = tmp_path / f"store{n}", tmp_path / f"log{n}.txt", tmp_path / f"said{n}.txt"
        Store(root)
        hit: list[int] = []

        def strike(hit: list[int] = hit) -> None:
            hit.append(1)
            no_space()

        def work(root: Path = root, log: Path = log, said: Path = said, n: int = n) -> None:
            Fault(root, n, no_space, writes_only=True).arm()
            try:
                run(Store(root), log)
            except UserError as error:
                said.write_text(str(error))
            else:
                said.write_text("complete")

        assert in_child(work) == 0, n
        words = said.read_text()
        assert words == "complete" or ("disk full while" in words and f"free space in {root}" in words), words
        assert "\n" not in words
        assert_goes_on(root, log, assert_whole(root))
        shutil.rmtree(root)
        if n > 30 and words == "complete":
            break


def test_a_ref_killed_while_it_is_replaced(tmp_path: Path) -> None:
    seen = []
    for n in count(1):
        root = tmp_path / f"store{n}"
        Store(root).refs.write("run", {"value": "old"})

        def work(root: Path = root, n: int = n) -> None:
            refs = Store(root).refs
            Fault(root, n, die).arm()
            refs.write("run", {"value": "new"})

        code = in_child(work)
        seen.append(Store(root).refs.read("run")["value"])
        if code == 0:
            break
    assert set(seen) == {"old", "new"}
    assert seen == sorted(seen, reverse=True), "once new, it stays new"


def test_killed_while_a_damaged_result_is_moved_away(tmp_path: Path) -> None:
    for n in count(1):
        root, log = tmp_path / f"store{n}", tmp_path / f"log{n}.txt"
        run(Store(root), log)
        (Store(root).folder(number(n=2).key) / "value.txt").write_text("9")

        def work(root: Path = root, n: int = n) -> None:
            Fault(root, n, die).arm()
            Store(root).quarantine(number(n=2).key)

        code = in_child(work)
        store = Store(root)
        moved = list((root / "quarantine").iterdir())
        assert store.has(number(n=2).key) == (not moved)
        again = total(parts=[number(n=2)], seed=1)
        assert run_graph({"it": again}, store, runtime={"log": str(log)}).complete
        assert value(store.path(again.key)) == ANSWER
        if code == 0:
            break


def test_killed_while_gc_deletes(tmp_path: Path) -> None:
    for n in count(1):
        root, log = tmp_path / f"store{n}", tmp_path / f"log{n}.txt"
        run(Store(root), log)
        Store(root).refs.write("run", {"it": number(n=2).key})

        def work(root: Path = root, n: int = n) -> None:
            Fault(root, n, die).arm()
            collect(Store(root))

        code = in_child(work)
        assert number(n=2).key in assert_whole(root)
        collect(Store(root))
        assert set(Store(root).keys()) == {number(n=2).key}
        assert [path for path in (root / "tmp").iterdir() if path.is_dir()] == []
        if code == 0:
            break


def test_a_killed_step_goes_on_from_its_scratch_folder(tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log.txt"
    runtime = {"log": str(log)}
    code = in_child(lambda: run_graph({"it": resuming()}, store, runtime=runtime) and None)
    assert code == -signal.SIGKILL
    store.refs.write("run", {"it": resuming().key})
    collect(store)
    assert (store.work_folder(resuming().key) / "scratch" / "checkpoint.txt").exists()
    assert run_graph({"it": resuming()}, store, runtime=runtime).complete
    assert value(store.path(resuming().key)) == 42
    assert executions(log) == ["resuming", "resuming"]
    assert not store.work_folder(resuming().key).exists()


INTERRUPTED = """
import sys
from tests.engine.toy import slow
from w2s_core.engine import Store, make_display, run_graph
first = slow(seconds=0.05, name="first")
target = slow(of=first, seconds=20.0, name="second")
outcome = run_graph({"it": target}, Store(sys.argv[1]), workers=int(sys.argv[3]),
                    runtime={"log": sys.argv[2]}, display=make_display())
print(sorted(outcome.done) == [first.key], outcome.interrupted, outcome.complete)
"""


@pytest.mark.parametrize("number_of_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_by_a_signal(tmp_path: Path, number_of_signal: int, workers: int) -> None:
    log = tmp_path / "log.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "store"), str(log), str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: "second" in executions(log))
    process.send_signal(number_of_signal)
    start = time.monotonic()
    out, said = process.communicate(timeout=10)
    assert time.monotonic() - start < 3
    assert out.split() == ["True", "True", "False"]
    assert "interrupted; the same command goes on where it stopped" in said.splitlines()
    assert "Traceback" not in said
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert list((tmp_path / "store" / "sessions").iterdir()) == []
    pids = {int(line.split()[1]) for line in log.read_text().splitlines()}
    assert not any(alive(pid) for pid in pids)


STOPPED = INTERRUPTED.replace("20.0", "1.0").replace("print(", "print(outcome.failed, ")


def test_a_run_that_is_stopped_and_continued_goes_on(tmp_path: Path) -> None:
    """Driver and workers stand still for longer than the driver waits for anything, then go on."""
    log = tmp_path / "log.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path / "store"), str(log), "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: "second" in executions(log))
    pids = [process.pid, *{int(line.split()[1]) for line in log.read_text().splitlines()}]
    for sent, seconds in ((signal.SIGSTOP, 2.0), (signal.SIGCONT, 0.0)):
        for pid in pids:
            os.kill(pid, sent)
        time.sleep(seconds)
    out, warnings = process.communicate(timeout=20)
    assert out.split() == [
        "{}",
        "False",
        "False",
        "True",
    ]  # nothing failed; "second" was computed too; complete
    assert executions(log) == ["first", "second"]
    assert "died" not in warnings


def wait_for(condition: object, timeout_s: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_really_full_disk(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount a small file system")
    try:
        store = Store(small / "store")
        big = writes(name="big.txt", size=3_000_000)
        with pytest.raises(
            DiskFullError, match=r"disk full while writing writes \(needs about \d MB\): free space in"
        ):
            run_graph({"it": big}, store)
        assert list((store.root / "tmp").iterdir()) == []
        assert run_graph({"it": writes(name="small.txt")}, store).complete
        subprocess.run(["mount", "-o", "remount,size=9m", str(small)], check=True)
        assert run_graph({"it": big}, store).complete
        assert list(store.verify()) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)
