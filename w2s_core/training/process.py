"""What each process of a launched training runs: `python -m w2s_core.training.process JOB` (see `launch.py`)."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from w2s_core.engine import disk, locks
from w2s_core.errors import StopBranch, UserError
from w2s_core.rows import read_json, write_json
from w2s_core.training.environment import take_out_settings
from w2s_core.training.settings import TrainSettings

LOOK_EVERY_S = 0.5
WRITE_EVERY_S = 0.25
FAILED = 1


def main(job_path: Path) -> int:
    """Train as the job says. Returns the exit status."""
    take_out_settings(launched=True)
    job = read_json(job_path)
    work = Path(job["work"])
    locks.wait_lock(work / "processes.lock", shared=True)  # held to the end of this process
    parent = Path(job["parent"])
    if not locks.is_held(parent):
        return FAILED
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        summary = _train(job, work)
    except UserError as error:
        kind = "StopBranch" if isinstance(error, StopBranch) else "UserError"
        failure = json.dumps({"kind": kind, "message": str(error)})
        disk.replace_quickly(work / f"error.{os.environ.get('RANK', '0')}.json", failure)
        return FAILED
    if _is_first():
        write_json(work / "result.json", summary)
    return 0


def _train(job: dict[str, Any], work: Path) -> dict[str, Any]:
    import torch
    from accelerate import PartialState

    from w2s_core.training.core import Site, train

    on_cpu = job["device"] == "cpu"
    if on_cpu:
        torch.set_num_threads(1)
    # Joins the other processes: loading a model asks whether they will share its weights.
    PartialState(cpu=on_cpu)
    return train(
        Path(job["model_dir"]),
        read_json(work / "rows.json"),
        TrainSettings(**job["settings"]),
        Site(job["bases"], Path(job["out"]), work, job["device"], job["micro_batch"], job["checkpoint_s"]),
        progress=_ProgressFile(work / "progress.json") if _is_first() else None,
    )


class _ProgressFile:
    """Writes the progress to the file that the parent reads."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, 0.0

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= WRITE_EVERY_S:
            self._last = now
            state = {"done": done, "total": total, "unit": unit, "note": note}
            disk.replace_quickly(self._path, json.dumps(state))


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _end_with(parent: Path) -> None:
    """End this process when its parent's lock is free: another worker may then take the step."""
    while locks.is_held(parent):
        time.sleep(LOOK_EVERY_S)
    os._exit(FAILED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
