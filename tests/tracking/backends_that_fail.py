"""Backends that go wrong in every way that a library may. They run in the tracker's own process."""

import os
import socket
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from w2s_core.tracking import Job

Warn = Callable[[str], None]


def fine(job: Job, warn: Warn) -> None:
    """Writes what it is sent to a file, so that a test can read it."""
    if note := job.config.get("note"):
        warn(note)
    lines = [f"log {step} {dict(metrics)}" for step, metrics in job.rows]
    lines.append(f"summary {job.summary}")
    Path(job.config["file"]).write_text("\n".join([*lines, "finish"]))


def waits(job: Job, warn: Warn) -> None:
    """Starts, and goes on when its test lets it."""
    started = Path(job.config["file"] + ".started")
    started.touch()
    while started.exists():
        time.sleep(0.02)
    fine(job, warn)


def fails_to_import(job: Job, warn: Warn) -> None:
    raise ImportError("No module named 'tracker' (key=sk-aaaaaaaaaaaaaaaaaaaaaaaa)")


def fails_to_log(job: Job, warn: Warn) -> None:
    raise RuntimeError("disk full\nand more lines")


def fails_after_a_note(job: Job, warn: Warn) -> None:
    warn("you are not logged in")
    raise RuntimeError("disk full")


def hangs(job: Job, warn: Warn) -> None:
    """Hangs, as does a helper process that it started."""
    if os.fork() == 0:
        Path(job.config["file"]).write_text(str(os.getpid()))
    time.sleep(600)


def leaves_a_helper(job: Job, warn: Warn) -> None:
    """Ends, and what it started stays."""
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "20"])
    fine(job, warn)


def dies(job: Job, warn: Warn) -> None:
    os._exit(7)


def exits(job: Job, warn: Warn) -> None:
    raise SystemExit("bye")


def chatters(job: Job, warn: Warn) -> None:
    """Prints, writes to both outputs, and asks a question."""
    print("write token: 123")
    os.write(1, b"not a warning\n")
    os.write(2, b"not a warning either\n")
    try:
        input("API key? ")
    except EOFError:
        fine(job, warn)


def calls_home(job: Job, warn: Warn) -> None:
    """Looks for two ways out of the machine: through a proxy, and straight."""
    with suppress(OSError):
        urllib.request.urlopen("http://example.invalid/", timeout=5)
    time.sleep(0.2)  # the listener notes its guest in a thread
    socket.create_connection(("192.0.2.1", 443), timeout=1)
