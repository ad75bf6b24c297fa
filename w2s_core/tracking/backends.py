"""What runs in a tracker's own process: it reads one job from standard input and records it in W&B or Trackio.

A process of its own keeps a library that hangs, prints, or reads its settings at import time away from the run.
"""

import importlib
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from w2s_core.tracking.trackers import FAILED, Job

PROJECT = "w2s"
ONLINE_TIMEOUT_S = 30.0
LOCKED_S = 10.0
NO_WAY_ONLINE = "W&B cannot go online"
"""How the warning begins that a run is recorded offline though it was to be sent."""

Warn = Callable[[str], None]


def record_in_wandb(job: Job, warn: Warn) -> None:
    """Record a run in W&B: offline files in `folder`/wandb, which `wandb sync` sends; or online, if logged in."""
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    _remove_offline_copies(Path(job.folder) / "wandb", job.run_id)
    run = _open_wandb_run(job, warn)
    for step, metrics in job.rows:
        run.log(dict(metrics), step=step)
    run.summary.update(dict(job.summary or {}))
    run.finish()


def _open_wandb_run(job: Job, warn: Warn) -> Any:
    if job.online:
        try:
            return _init_wandb(job, "online")
        except Exception as error:  # noqa: BLE001 - offline goes on, whatever W&B raises
            warn(
                f"{NO_WAY_ONLINE} ({_first_line(error)}): run `wandb login`, then `wandb sync` on "
                f"{job.folder}/wandb; this run is recorded offline"
            )
    return _init_wandb(job, "offline")


def _init_wandb(job: Job, mode: Literal["online", "offline"]) -> Any:
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
    return wandb.init(
        project=PROJECT,
        name=job.run_name,
        id=job.run_id,
        config=dict(job.config),
        dir=job.folder,
        group=job.group,
        mode=mode,
        # Offline there is nothing to resume from yet; online the same id goes on instead of making a second run.
        resume="allow" if mode == "online" else None,
        settings=settings,
    )


def record_in_trackio(job: Job, warn: Warn) -> None:
    """Record a run in the SQLite database `folder`/trackio/w2s.db, replacing what stood there under its name."""
    folder = Path(job.folder) / "trackio"
    folder.mkdir(parents=True, exist_ok=True)
    _confirm_unlocked(folder / f"{PROJECT}.db")
    # Trackio reads its folder when it is imported; all its other variables would send the run elsewhere.
    for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
        del os.environ[name]
    os.environ |= {"TRACKIO_DIR": str(folder), "TRACKIO_STORAGE_MODE": "sqlite", "HF_HUB_OFFLINE": "1"}
    import trackio

    if (folder / f"{PROJECT}.db").exists():
        for earlier in [run for run in trackio.Api().runs(PROJECT) if run.name == job.run_name]:
            earlier.delete()
    run = trackio.init(
        project=PROJECT,
        name=job.run_name,
        group=job.group,
        config={**job.config, "run_id": job.run_id},
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    for step, metrics in job.rows:
        run.log(dict(metrics), step=step)
    if job.summary:  # Trackio has no values of a run as a whole: they become one more row, after the last
        run.log(dict(job.summary), step=max((step for step, _ in job.rows), default=-1) + 1)
    run.finish()


def _confirm_unlocked(database: Path) -> None:
    """Raise where another program keeps an SQLite database locked: Trackio would drop the run silently."""
    if database.exists():
        with closing(sqlite3.connect(database, timeout=LOCKED_S)) as connection:
            connection.execute("begin immediate")


def main(backend: str) -> int:
    """Record the job on standard input by a backend "module:function". Returns the exit status.

    Warnings are lines on stderr; of a failure the last line is the reason.
    """
    # os.dup's descriptor is not inherited, so the parent does not wait for a helper process that a library leaves.
    stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

    def warn(line: str) -> None:
        print(line, file=stderr, flush=True)

    try:
        job = Job(**json.load(sys.stdin))  # to its end, so that nothing can wait for an answer there
        module, _, name = backend.partition(":")
        getattr(importlib.import_module(module), name)(job, warn)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a library may raise anything; the parent warns
        warn(f"{type(error).__name__}: {_first_line(error)}")
        return FAILED
    return 0


def _remove_offline_copies(folder: Path, run_id: str) -> None:
    """Remove what an earlier mirror of the same run wrote, so that `wandb sync` does not send it twice."""
    if not re.fullmatch(r"[0-9a-z]+", run_id):
        raise ValueError(f"a run id is made of a-z and 0-9, got {run_id!r}")
    for copy in folder.glob(f"offline-run-*-{run_id}"):
        shutil.rmtree(copy, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
