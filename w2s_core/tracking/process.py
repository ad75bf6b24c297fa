"""A tracker in a process of its own: every call has a time limit, and a failure is one warning, never an exception."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from w2s_core.tracking.redaction import redact_text


@dataclass(frozen=True)
class Limits:
    """How long a tracker may take, in seconds: to start, for one call, to finish."""

    start: float = 90.0
    call: float = 15.0
    finish: float = 60.0


class _Failed(Exception):
    """A tracker did not do as it was told."""


class ProcessTracker:
    """Sends each call to a backend's process and waits for the answer. After its first failure it is idle."""

    def __init__(
        self, title: str, backend: str, arguments: dict[str, Any], limits: Limits, warn: Callable[[str], None]
    ) -> None:
        self.title, self._limits, self._warn = title, limits, warn
        self._process: subprocess.Popen[str] | None = None
        self._overdue = False
        try:
            self._process = _spawn()
        except OSError as error:
            self._give_up(str(error))
        answer = self._call("start", limits.start, backend=backend, arguments=arguments)
        if note := answer.get("note"):
            warn(str(note))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one row of metrics."""
        self._call("log", self._limits.call, arguments={"metrics": dict(metrics), "step": step})

    def summary(self, values: Mapping[str, float]) -> None:
        """Set values of the run as a whole."""
        self._call("summary", self._limits.call, arguments={"values": dict(values)})

    def finish(self) -> None:
        """End the run; the process is gone afterwards."""
        self._call("finish", self._limits.finish, arguments={})
        process, self._process = self._process, None
        if process:
            _close(process, self._limits.finish)

    def _call(self, call: str, limit: float, **message: Any) -> dict[str, Any]:
        """One exchange with the process; {} after any failure."""
        if self._process is None:
            return {}
        watch = threading.Timer(limit, self._end, [self._process])
        watch.start()
        try:
            return _exchange(self._process, {"call": call, **message})
        except (OSError, ValueError, TypeError, _Failed) as error:
            self._give_up(f"{call}: no answer within {limit:g} s" if self._overdue else f"{call}: {error}")
            return {}
        finally:
            watch.cancel()

    def _end(self, process: "subprocess.Popen[str]") -> None:
        self._overdue = True
        _kill(process)

    def _give_up(self, reason: str) -> None:
        process, self._process = self._process, None
        if process:
            _kill(process)
            _close(process, 5.0)
        self._warn(
            f"{self.title} stopped mirroring this run ({redact_text(reason)}); its results are not affected"
        )


def _spawn() -> "subprocess.Popen[str]":
    """Start a backend's process, out of reach of the terminal's Ctrl-C: the run itself decides when to finish."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "w2s_core.tracking.backends"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "WANDB_ERROR_REPORTING": "false"},
        start_new_session=True,
        text=True,
        encoding="utf-8",
    )


def _exchange(process: "subprocess.Popen[str]", message: dict[str, Any]) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise _Failed("it has no pipes")
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise _Failed("its process ended")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise _Failed(answer["error"])
    return answer


def _kill(process: "subprocess.Popen[str]") -> None:
    """End the process and what it started in its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _close(process: "subprocess.Popen[str]", limit: float) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
