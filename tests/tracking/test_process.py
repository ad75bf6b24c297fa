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

from w2s_core.errors import UserError
from w2s_core.tracking import Limits, Trackers, open_trackers
from w2s_core.tracking import trackers as module

HERE = "tests.tracking.backends_that_fail"
QUICK = Limits(start=2.0, call=2.0, finish=2.0)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> Callable[..., Trackers]:
    """Open one tracker with a backend of this folder, quick to lose patience if told so."""

    def open_one(backend: str, *, limits: Limits | None = None, **config: object) -> Trackers:
        monkeypatch.setattr(module, "BACKENDS", {"fake": ("Fake", f"{HERE}:{backend}")})
        config = {"file": str(tmp_path / "said.txt"), **config}
        return open_trackers(["fake"], "r", config, tmp_path, limits=limits, warn=warnings.append)

    return open_one


def said(tmp_path: Path) -> list[str]:
    return (tmp_path / "said.txt").read_text().splitlines()


def test_calls_arrive_in_order_and_the_process_ends(
    start: Callable[..., Trackers], tmp_path: Path, warnings: list[str]
) -> None:
    with start("Fine") as tracker:
        tracker.log({"a/loss": 0.5}, 3)
        tracker.log({"a/loss": float("inf")}, 4)
        tracker.summary({"accuracy": 1.0})
    assert said(tmp_path) == [
        "log 3 {'a/loss': 0.5}",
        "log 4 {'a/loss': inf}",
        "summary {'accuracy': 1.0}",
        "finish",
    ]
    assert warnings == []


def test_a_note_of_the_backend_is_said(start: Callable[..., Trackers], warnings: list[str]) -> None:
    with start("Fine", note="you are not logged in"):
        pass
    assert warnings == ["you are not logged in"]


def test_what_a_library_prints_or_asks_disturbs_nothing(
    start: Callable[..., Trackers], tmp_path: Path, warnings: list[str]
) -> None:
    with start("Chatters") as tracker:
        tracker.log({"x": 1.0}, 0)
    assert said(tmp_path) == ["nobody answered", "log 0 {'x': 1.0}", "finish"]
    assert warnings == []


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("FailsToStart", "start: ImportError: No module named 'tracker' (key=[redacted])"),
        ("Nowhere", "start: AttributeError"),
        ("FailsToLog", "log: RuntimeError: disk full)"),
        ("Dies", "log: its process ended"),
        ("Exits", "log: SystemExit: bye"),
    ],
)
def test_a_failure_is_said_once_and_later_calls_do_nothing(
    start: Callable[..., Trackers], warnings: list[str], backend: str, reason: str
) -> None:
    with start(backend) as tracker:
        for step in range(3):
            tracker.log({"x": 1.0}, step)
        tracker.summary({"y": 1.0})
    assert len(warnings) == 1
    assert reason in warnings[0]
    assert "\n" not in warnings[0]
    assert "its results are not affected" in warnings[0]


@pytest.mark.parametrize("backend", ["HangsAtStart", "HangsAtFinish"])
def test_a_tracker_that_hangs_is_ended(
    start: Callable[..., Trackers], warnings: list[str], backend: str
) -> None:
    began = time.monotonic()
    with start(backend, limits=QUICK) as tracker:
        tracker.log({"x": 1.0}, 0)
    assert time.monotonic() - began < 20
    assert len(warnings) == 1
    assert "no answer within 2 s" in warnings[0]


def test_values_that_are_no_json_only_warn(start: Callable[..., Trackers], warnings: list[str]) -> None:
    with start("Fine") as tracker:
        tracker.log(cast(Any, {"x": object()}), 0)
    assert len(warnings) == 1
    assert "not JSON serializable" in warnings[0]


def test_no_process_can_be_started(
    start: Callable[..., Trackers], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with start("Fine") as tracker:
        tracker.log({"x": 1.0}, 0)
    assert len(warnings) == 1
    assert "/nowhere/python" in warnings[0]


def test_an_unknown_tracker_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown tracker 'tensorboard': there are wandb, trackio"):
        open_trackers(["tensorboard"], "r", {}, tmp_path)


KILLED = """
import sys, time
from pathlib import Path
from typing import Any, cast
from w2s_core.tracking import open_trackers, trackers

backend, folder = sys.argv[1:]
trackers.BACKENDS = {"fake": ("Fake", backend)}
tracker = open_trackers(["fake"], "r", {"file": folder + "/said.txt"}, Path(folder))
for step in range(200):
    tracker.log({"x": 1.0}, step)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_run_that_is_killed_loses_nothing_that_it_logged(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, f"{HERE}:Fine", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGKILL)
    run.communicate()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and said(tmp_path)[-1:] != ["finish"]:
        time.sleep(0.05)
    assert len(said(tmp_path)) == 201
    assert said(tmp_path)[-1] == "finish"
