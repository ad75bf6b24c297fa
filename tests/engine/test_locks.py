"""A lock is held by a live process or by nobody."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.engine.harness import in_child
from w2s_core.engine import locks

HOLD = """
import sys, time
from pathlib import Path
from w2s_core.engine import locks
lock = locks.try_lock(Path(sys.argv[1]), note={"step": "sft"})
print(lock is not None, flush=True)
time.sleep(60)
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with locks.wait_lock(path):
        assert locks.try_lock(path) is None
        assert locks.is_held(path)
        assert in_child(lambda: os._exit(0 if locks.try_lock(path) is None else 1)) == 0
    assert not path.exists()
    assert not locks.is_held(path)
    again = locks.try_lock(path)
    assert again is not None
    again.release()


def test_the_owner_is_named(tmp_path: Path) -> None:
    process = holder(tmp_path / "a.lock")
    try:
        owner = locks.owner(tmp_path / "a.lock")
        assert (owner["pid"], owner["step"]) == (process.pid, "sft")
        assert owner["host"] == os.uname().nodename
    finally:
        process.kill()
        process.wait()


def test_a_dead_owner_is_followed_at_once(tmp_path: Path) -> None:
    process = holder(tmp_path / "a.lock")
    assert locks.try_lock(tmp_path / "a.lock") is None
    process.send_signal(signal.SIGKILL)
    start = time.monotonic()
    with locks.wait_lock(tmp_path / "a.lock"):
        assert time.monotonic() - start < 1.0
    process.wait()


def test_a_stopped_owner_keeps_it(tmp_path: Path) -> None:
    process = holder(tmp_path / "a.lock")
    process.send_signal(signal.SIGSTOP)
    try:
        assert locks.try_lock(tmp_path / "a.lock") is None
    finally:
        process.kill()
        process.wait()


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    path, ready = tmp_path / "a.lock", tmp_path / "pid"

    def parent() -> None:
        assert locks.try_lock(path)
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        ready.write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(parent) == -signal.SIGKILL
    orphan = int(ready.read_text())
    try:
        start = time.monotonic()
        locks.wait_lock(path).release()
        assert time.monotonic() - start < 2, "the child had no chance yet to close its copy?"
        os.kill(orphan, 0)  # it lives
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_forked_child_does_not_end_its_parents_lock(tmp_path: Path) -> None:
    with locks.wait_lock(tmp_path / "a.lock") as lock:

        def child() -> None:
            lock.release()

        assert in_child(child) == 0
        assert locks.is_held(tmp_path / "a.lock")
        assert (tmp_path / "a.lock").exists()


def test_a_program_that_is_started_does_not_keep_it(tmp_path: Path) -> None:
    with locks.wait_lock(tmp_path / "a.lock"):
        process = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        assert not locks.is_held(tmp_path / "a.lock")
    finally:
        process.kill()
        process.wait()


def test_shared_holders_keep_a_lone_one_out(tmp_path: Path) -> None:
    one, two = (locks.try_lock(tmp_path / "a.lock", shared=True) for _ in range(2))
    assert one is not None
    assert two is not None
    assert locks.try_lock(tmp_path / "a.lock") is None
    one.release(remove=False)
    assert locks.try_lock(tmp_path / "a.lock") is None
    two.release(remove=False)
    alone = locks.try_lock(tmp_path / "a.lock")
    assert alone is not None
    alone.release()


def test_many_threads_and_a_file_that_comes_and_goes(tmp_path: Path) -> None:
    """Each release deletes the file; no two threads may ever be inside, on the old file and the new one."""
    inside, most, rounds = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, rounds
        for _ in range(50):
            with locks.wait_lock(tmp_path / "a.lock", poll_s=0.0001):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0001)
                rounds += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, rounds) == (1, 300)
