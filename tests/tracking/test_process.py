"""A tracker's failure is one warning and never an exception; its process does not outlive its time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.tracking import Job, mirror_run, send
from w2s_core.tracking import trackers as module

HERE = "tests.tracking.backends_that_fail"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> Callable[..., None]:
    """Send a job of some rows to a backend of this folder."""

    def record_with(backend: str, *rows: Any, limit_s: float = module.LIMIT_S, **config: object) -> None:
        monkeypatch.setattr(module, "BACKENDS", {"fake": ("Fake", f"{HERE}:{backend}")})
        config = {"file": str(tmp_path / "recorded.txt"), **config}
        job = Job("r", "0", config, str(tmp_path), rows, {"accuracy": 1.0})
        send("fake", job, warnings.append, limit_s=limit_s)

    return record_with


def recorded(tmp_path: Path) -> list[str]:
    return (tmp_path / "recorded.txt").read_text().splitlines()


def test_the_whole_job_arrives_in_order(
    record: Callable[..., None], tmp_path: Path, warnings: list[str]
) -> None:
    record("fine", (3, {"a/loss": 0.5}), (4, {"a/loss": float("inf")}))
    assert recorded(tmp_path) == [
        "log 3 {'a/loss': 0.5}",
        "log 4 {'a/loss': inf}",
        "summary {'accuracy': 1.0}",
        "finish",
    ]
    assert warnings == []


def test_a_note_of_the_backend_is_a_warning(record: Callable[..., None], warnings: list[str]) -> None:
    record("fine", note="you are not logged in")
    assert warnings == ["you are not logged in"]


def test_a_note_before_a_failure_is_a_warning_of_its_own(
    record: Callable[..., None], warnings: list[str]
) -> None:
    record("fails_after_a_note")
    note, failure = warnings
    assert note == "you are not logged in"
    assert "disk full" in failure


def test_what_a_library_prints_or_asks_disturbs_nothing(
    record: Callable[..., None], tmp_path: Path, warnings: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    record("chatters")
    assert recorded(tmp_path)[-1] == "finish"
    assert warnings == []
    assert capfd.readouterr() == ("", "")


def test_a_secret_in_the_configuration_is_not_sent(
    record: Callable[..., None], tmp_path: Path, warnings: list[str]
) -> None:
    record("fine", note="token hf_" + "a" * 34)
    assert warnings == ["token [redacted]"]


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("fails_to_import", "ImportError: No module named 'tracker' (key=[redacted])"),
        ("nowhere", "AttributeError"),
        ("fails_to_log", "RuntimeError: disk full)"),
        ("dies", "its process ended with status 7"),
        ("exits", "SystemExit: bye"),
    ],
)
def test_a_failure_is_one_warning(
    record: Callable[..., None], warnings: list[str], backend: str, reason: str
) -> None:
    record(backend, *((step, {"x": 1.0}) for step in range(3)))
    (warning,) = warnings
    assert reason in warning
    assert "\n" not in warning
    assert "its results are not affected" in warning


def test_a_tracker_that_hangs_is_ended_with_what_it_started(
    record: Callable[..., None], tmp_path: Path, warnings: list[str]
) -> None:
    began = time.monotonic()
    record("hangs", limit_s=3.0)
    assert time.monotonic() - began < 20
    (warning,) = warnings
    assert "not done within 3 s" in warning
    helper = int(recorded(tmp_path)[0])
    deadline = time.monotonic() + 10
    while is_running(helper) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(helper)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_helper_that_a_library_leaves_behind_is_not_waited_for(
    record: Callable[..., None], tmp_path: Path, warnings: list[str]
) -> None:
    began = time.monotonic()
    record("leaves_a_helper")
    assert time.monotonic() - began < 15, "the helper sleeps for 20 s"
    assert recorded(tmp_path)[-1] == "finish"
    assert warnings == []


def test_values_that_are_no_json_only_warn(record: Callable[..., None], warnings: list[str]) -> None:
    record("fine", (0, cast(Any, {"x": object()})))
    (warning,) = warnings
    assert "not JSON serializable" in warning


def test_no_process_can_be_started(
    record: Callable[..., None], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    record("fine", (0, {"x": 1.0}))
    (warning,) = warnings
    assert "/nowhere/python" in warning


def test_an_unknown_tracker_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown tracker 'tensorboard': there are wandb, trackio"):
        mirror_run(Store(tmp_path), "r", ["tensorboard"], tmp_path)


INTERRUPTED = """
import sys
from w2s_core.tracking import Job, send, trackers

backend, file = sys.argv[1:]
trackers.BACKENDS = {"fake": ("Fake", backend)}
send("fake", Job("r", "0", {"file": file}, ".", [(step, {"x": 1.0}) for step in range(10_000)], {}))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_mirror_outlives_a_run_that_is_ended(tmp_path: Path, number: int) -> None:
    """The job, longer than a pipe holds, is the child's as soon as it has started."""
    file = tmp_path / "recorded.txt"
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, f"{HERE}:waits", str(file)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    started = tmp_path / "recorded.txt.started"
    wait_for(started.exists)
    run.send_signal(number)
    assert run.wait(20) != 0
    started.unlink()
    wait_for(lambda: file.exists() and recorded(tmp_path)[-1:] == ["finish"])
    assert len(recorded(tmp_path)) == 10_002


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
