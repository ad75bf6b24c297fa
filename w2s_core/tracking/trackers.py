"""Open trackers, and speak to several as to one."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from w2s_core.errors import UserError
from w2s_core.tracking.process import Limits, ProcessTracker
from w2s_core.tracking.redaction import redact

BACKENDS = {
    "wandb": ("W&B", "w2s_core.tracking.backends:WandbRun"),
    "trackio": ("Trackio", "w2s_core.tracking.backends:TrackioRun"),
}


class Tracker(Protocol):
    """Where a run is shown. Metric names may have parts, separated by slashes; steps are optimiser steps, ascending."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one row of metrics at a step."""

    def summary(self, values: Mapping[str, float]) -> None:
        """Set values of the run as a whole."""

    def finish(self) -> None:
        """End the run."""


class Trackers:
    """Several trackers as one. As a context manager it finishes them at the end, whatever happened."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one row of metrics at a step, everywhere."""
        for tracker in self._trackers:
            tracker.log(metrics, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Set values of the run as a whole, everywhere."""
        for tracker in self._trackers:
            tracker.summary(values)

    def finish(self) -> None:
        """End the run everywhere."""
        for tracker in self._trackers:
            tracker.finish()

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.finish()


def to_stderr(line: str) -> None:
    """Say a warning where it does not mix with results."""
    sys.stderr.write(f"w2s: warning: {line}\n")


def open_trackers(
    names: Iterable[str],
    run_name: str,
    config: Mapping[str, Any],
    folder: Path,
    *,
    group: str | None = None,
    mode: Literal["offline", "online"] = "offline",
    identity: object = None,
    limits: Limits | None = None,
    warn: Callable[[str], None] = to_stderr,
) -> Trackers:
    """Start a run in each named tracker, replacing what an earlier mirror of the same run wrote here.

    Args:
        names: of "wandb", "trackio".
        run_name: as people know it.
        config: shown with the run; what looks like a secret is taken out.
        folder: W&B writes to `folder`/wandb, Trackio to `folder`/trackio.
        group: runs of a group are shown together.
        mode: of W&B. "online" falls back to offline, with a warning, when W&B cannot be reached or is not logged in.
        identity: JSON that tells runs of one name apart, such as their keys; by default the configuration.
        limits: how long a tracker may take.
        warn: takes each warning, one line; by default they go to stderr.

    Raises:
        UserError: an unknown tracker.
    """
    names = list(dict.fromkeys(names))
    if unknown := [name for name in names if name not in BACKENDS]:
        raise UserError(f"unknown tracker '{unknown[0]}': there are {', '.join(BACKENDS)}")
    clean = redact(dict(config))
    opened: list[Tracker] = []
    for name in names:
        title, backend = BACKENDS[name]
        place = folder if name == "wandb" else folder / name  # W&B adds its own name
        arguments = {
            "run_name": run_name,
            "run_id": run_id(run_name, clean if identity is None else identity),
            "config": clean,
            "folder": str(place.absolute()),
            "group": group,
            "mode": mode,
        }
        opened.append(ProcessTracker(title, backend, arguments, limits or Limits(), warn))
    return Trackers(opened)


def run_id(run_name: str, identity: object) -> str:
    """The id of a run in W&B: the same run has the same id, so that a rerun goes on with it instead of doubling it."""
    text = json.dumps([run_name, identity], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
