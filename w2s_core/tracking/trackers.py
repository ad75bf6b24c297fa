"""Send a run to a tracker: one job, written whole to a child process that records it and ends.

    parent                              child (`w2s_core.tracking.backends`)
    Job as JSON, its standard input ->  W&B's or Trackio's library
    warnings  <-  lines on stderr, exit status

The child depends on the parent for nothing once it has started: its input is a file, and its session is its own. So a
Ctrl-C or a kill of the run leaves a mirror that is complete.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from w2s_core.engine.redaction import redact, redact_text
from w2s_core.errors import UserError

BACKENDS = {
    "wandb": ("W&B", "w2s_core.tracking.backends:record_in_wandb"),
    "trackio": ("Trackio", "w2s_core.tracking.backends:record_in_trackio"),
}
LIMIT_S = 150.0
"""Seconds that a tracker may take for a run."""
TOO_SLOW = "it was not done within"
"""How the reason begins that a tracker was given up."""
FAILED = 1
"""Exit status of a child whose last line on stderr is an error; the lines before it are warnings."""


@dataclass(frozen=True)
class Job:
    """A run as a tracker records it.

    Attributes:
        run_name: as people know it.
        run_id: as W&B knows it, see `run_id`.
        config: shown with the run.
        folder: W&B writes to `folder`/wandb, Trackio to `folder`/trackio.
        rows: metrics by optimiser step, ascending. Metric names may have parts, separated by slashes.
        summary: values of the run as a whole.
        group: runs of a group are shown together.
        online: W&B sends the run; it is recorded offline, with a warning, where W&B cannot be reached or the user
            is not logged in.
    """

    run_name: str
    run_id: str
    config: Mapping[str, Any]
    folder: str
    rows: Sequence[tuple[int, Mapping[str, float]]] = ()
    summary: Mapping[str, float] | None = None
    group: str | None = None
    online: bool = False


def to_stderr(line: str) -> None:
    """Write a warning where it does not mix with results."""
    sys.stderr.write(f"w2s: warning: {line}\n")


def run_id(run_name: str, identity: object) -> str:
    """The id of a run in W&B: the same run has the same id, so that a rerun goes on with it instead of doubling it.

    `identity` is JSON that distinguishes runs of one name, such as their keys.
    """
    text = json.dumps([run_name, identity], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError for a tracker that there is not."""
    if unknown := [name for name in names if name not in BACKENDS]:
        raise UserError(f"unknown tracker '{unknown[0]}': there are {', '.join(BACKENDS)}")


def send(
    tracker: str, job: Job, warn: Callable[[str], None] = to_stderr, *, limit_s: float = LIMIT_S
) -> None:
    """Record a run in a tracker, replacing what an earlier mirror of it wrote. A failure is one warning, no exception.

    Secrets are taken out of the configuration before it leaves this process.
    """
    title, backend = BACKENDS[tracker]
    folder = Path(job.folder).absolute()
    job = replace(job, config=redact(dict(job.config)), folder=str(folder))
    try:
        notes, failure = _record(backend, job, limit_s)
    except (OSError, ValueError, TypeError) as error:  # no process, or values that are no JSON
        notes, failure = [], str(error)
    for note in notes:
        warn(redact_text(note))
    if failure:
        warn(f"{title} did not mirror this run ({redact_text(failure)}); its results are not affected")


def _record(backend: str, job: Job, limit_s: float) -> tuple[list[str], str | None]:
    """Run the child to its end. Returns its warnings and, if it failed, the reason."""
    with tempfile.TemporaryFile() as request:
        request.write(json.dumps(asdict(job)).encode())
        request.seek(0)
        with _spawn(backend, request) as child:
            try:
                _, stderr = child.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                _kill(child)
                return [], f"{TOO_SLOW} {limit_s:g} s"
    lines = stderr.splitlines()
    if child.returncode == FAILED and lines:
        return lines[:-1], lines[-1]
    return lines, f"its process ended with status {child.returncode}" if child.returncode else None


def _spawn(backend: str, request: IO[bytes]) -> "subprocess.Popen[str]":
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "w2s_core.tracking.backends", backend],
        stdin=request,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "WANDB_ERROR_REPORTING": "false"},
        start_new_session=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _kill(child: "subprocess.Popen[str]") -> None:
    """End the child and what it started in its session."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
