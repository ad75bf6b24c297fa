"""What runs in a tracker's own process: W&B and Trackio behind one shape, fed with JSON lines on standard input.

A process of its own keeps a library that hangs, prints, or reads its settings at import time away from the run. And it
outlives a run that is killed: the end of its input makes it finish, so that nothing already logged is lost.
"""

import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from w2s_core.tracking.redaction import redact_text

PROJECT = "w2s"
ONLINE_TIMEOUT_S = 30.0
NO_WAY_ONLINE = "W&B cannot go online"
"""How the note begins that a run is recorded offline though it was to be sent."""


class Backend(Protocol):
    """One run in a tracker. Any method may raise; `note` is for the user, if there is something to say."""

    note: str | None

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one row of metrics at a step."""

    def summary(self, values: Mapping[str, float]) -> None:
        """Set values of the run as a whole."""

    def finish(self) -> None:
        """Write the last rows and end the run."""


class WandbRun:
    """A W&B run: offline files in `folder`/wandb, which `wandb sync` sends; or online, where the user is logged in."""

    def __init__(
        self, *, run_name: str, run_id: str, config: dict[str, Any], folder: str, group: str | None, mode: str
    ) -> None:
        self.note: str | None = None
        self._given: dict[str, Any] = {
            "name": run_name,
            "id": run_id,
            "config": config,
            "dir": folder,
            "group": group,
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        _remove_offline_copies(Path(folder) / "wandb", run_id)
        self._run = self._open(mode)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one row. Steps must not go back: W&B drops such rows."""
        self._run.log(dict(metrics), step=step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Set values of the run as a whole."""
        self._run.summary.update(dict(values))

    def finish(self) -> None:
        """Write the last rows and end the run."""
        self._run.finish()

    def _open(self, mode: str) -> Any:
        if mode == "online":
            try:
                return self._init("online")
            except Exception as error:  # noqa: BLE001 - offline goes on, whatever W&B raises
                self.note = (
                    f"{NO_WAY_ONLINE} ({_first_line(error)}): run `wandb login`, then `wandb sync` on "
                    f"{self._given['dir']}/wandb; this run is recorded offline"
                )
        return self._init("offline")

    def _init(self, mode: Literal["online", "offline"]) -> Any:
        import wandb

        # Off is all that would record this machine, its code or its output rather than the run.
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            save_code=False,
            symlink=False,
            init_timeout=ONLINE_TIMEOUT_S,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        # Offline there is nothing to resume from yet; online the same id goes on instead of making a second run.
        return wandb.init(
            project=PROJECT,
            mode=mode,
            resume="allow" if mode == "online" else None,
            settings=settings,
            **self._given,
        )


class TrackioRun:
    """A Trackio run in the SQLite database `folder`/w2s.db, replacing what an earlier mirror wrote under its name."""

    def __init__(
        self, *, run_name: str, run_id: str, config: dict[str, Any], folder: str, group: str | None, mode: str
    ) -> None:
        self.note: str | None = None
        Path(folder).mkdir(parents=True, exist_ok=True)
        # Trackio reads its folder when it is imported; all its other variables would send the run elsewhere.
        for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
            del os.environ[name]
        os.environ |= {"TRACKIO_DIR": folder, "TRACKIO_STORAGE_MODE": "sqlite", "HF_HUB_OFFLINE": "1"}
        import trackio

        if (Path(folder) / f"{PROJECT}.db").exists():
            for earlier in [run for run in trackio.Api().runs(PROJECT) if run.name == run_name]:
                earlier.delete()
        self._run = trackio.init(
            project=PROJECT,
            name=run_name,
            group=group,
            config={**config, "run_id": run_id},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self._last_step = -1

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one row."""
        self._run.log(dict(metrics), step=step)
        self._last_step = max(self._last_step, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Trackio has no values of a run as a whole: they become one more row, after the last."""
        self.log(values, self._last_step + 1)

    def finish(self) -> None:
        """Write the last rows and end the run."""
        self._run.finish()


def serve(messages: Any, reply: Any) -> None:
    """Answer messages until `finish` or the end of the input: one JSON line each way, an error as a line too."""
    backend: Backend | None = None
    for line in messages:
        message = json.loads(line)
        try:
            if message["call"] == "start":
                module, _, name = message["backend"].partition(":")
                backend = getattr(importlib.import_module(module), name)(**message["arguments"])
                answer = {"note": backend.note}
            elif backend is None:
                raise RuntimeError("the tracker was not started")
            else:
                getattr(backend, message["call"])(**message["arguments"])
                answer = {}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - reported: the other process decides
            answer = {"error": redact_text(f"{type(error).__name__}: {_first_line(error)}")}
        reply.write(json.dumps(answer) + "\n")
        reply.flush()
        if message["call"] == "finish":
            return
    if backend is not None:
        backend.finish()  # the run was killed: keep what it had logged


def main() -> None:
    """Serve on standard input and output. What the libraries print goes nowhere."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    messages = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nothing may ask a question here
    serve(messages, replies)
    sys.exit(0)


def _remove_offline_copies(folder: Path, run_id: str) -> None:
    """Remove what an earlier mirror of the same run wrote, so that `wandb sync` does not send it twice."""
    if not re.fullmatch(r"[0-9a-z]+", run_id):
        raise ValueError(f"a run id is made of a-z and 0-9, got {run_id!r}")
    for copy in folder.glob(f"offline-run-*-{run_id}"):
        shutil.rmtree(copy, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


if __name__ == "__main__":
    main()
