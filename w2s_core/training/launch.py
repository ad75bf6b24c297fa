"""A training over several processes: `accelerate launch` starts them, each calls `train` with the same arguments.

    parent (a step)                      first process           other processes
    job.json, rows.json  ------------->  train()  <- gradients -> train()
    progress             <-------------  progress.json
    summary, or an error <-------------  result.json, error.<number>.json of any process

How many processes and how weights are spread over them stands in a config of accelerate's (`--accelerate FILE`). It
changes a result by rounding only and is in no key: what it says of precision or compilation is not used. A process
ends by itself when its parent is gone.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.engine.locks import wait_lock
from w2s_core.errors import StopBranch, UserError
from w2s_core.rows import read_json, write_json
from w2s_core.training.accelerate_config import check_device, read_accelerate_config
from w2s_core.training.core import Site
from w2s_core.training.environment import without_settings
from w2s_core.training.settings import TrainSettings

if TYPE_CHECKING:
    from w2s_core.training.watch import Progress

LOOK_EVERY_S = 0.2
GRACE_S = 10.0
"""Seconds that processes get to end by themselves before they are killed."""


def train_launched(
    config: Path,
    model_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    settings: TrainSettings,
    site: Site,
    progress: "Progress | None" = None,
) -> dict[str, Any]:
    """As `train`, by the processes of an accelerate config.

    Raises:
        StopBranch, UserError: as `train`; also for a config that does not fit.
        RuntimeError: a process failed otherwise; its traceback is in the log that is named.
    """
    fields = read_accelerate_config(config)
    if fields["distributed_type"] == "FSDP":
        _check_sharded(config, settings)
    check_device(config, fields, site.device)
    work = site.work
    with wait_lock(work / "processes.lock"):
        pass  # processes of a parent that was killed end by themselves: wait for that
    for stale in (*work.glob("error.*.json"), work / "progress.json", work / "result.json"):
        stale.unlink(missing_ok=True)
    with wait_lock(work / f"parent.{secrets.token_hex(4)}.lock") as alive:
        job = {
            "model_dir": str(model_dir),
            "settings": settings.model_dump(),
            "bases": {name: str(place) for name, place in site.bases.items()},
            "out": str(site.out),
            "work": str(work),
            "device": site.device,
            "micro_batch": site.micro_batch,
            "checkpoint_s": site.checkpoint_s,
            "parent": str(alive.path),
        }
        write_json(work / "job.json", job)
        write_json(work / "rows.json", [dict(row) for row in rows])
        kind = ["--multi_gpu"] if fields["distributed_type"] == "MULTI_CPU" else []
        code = _run(_command(config, kind, work / "job.json"), work, progress)
    return _outcome(code, work)


def _check_sharded(config: Path, settings: TrainSettings) -> None:
    """Refuse what sharding would break: 4-bit weights, DPO's copy of all weights, which only the first process has, and
    Adafactor, which adds its own plain sums to sharded ones.
    """
    unsharded = {
        "4-bit weights are not sharded": (settings.quantization, "load_in_4bit: false"),
        "DPO's reference of all weights is not sharded": (
            settings.method == "dpo" and settings.tuning == "full",
            "tuning: lora",
        ),
        "Adafactor is not sharded": (settings.optimizer == "adafactor", "another optimizer"),
    }
    for words, (asked, instead) in unsharded.items():
        if asked:
            raise UserError(f"{config}: {words}: use distributed_type: MULTI_GPU, or {instead}")


def _command(config: Path, kind: list[str], job: Path) -> list[str]:
    """The call of accelerate. `kind`: for MULTI_CPU it would ask for MPI; --multi_gpu has torch start the processes."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), *kind]
    # Port 0: a free one, since another training may run beside this one.
    return [*launch, "--main_process_port", "0", "-m", f"{__package__}.process", str(job)]


def _run(command: list[str], work: Path, progress: "Progress | None") -> int:
    """Run the launcher to its end and pass its progress on. Whatever happens here, its processes end too."""
    with (work / "launch.log").open("wb") as log:
        launcher = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=without_settings(os.environ),
        )
        try:
            while launcher.poll() is None:
                time.sleep(LOOK_EVERY_S)
                _pass_on(work / "progress.json", progress)
        finally:
            _end(launcher)
    return launcher.returncode


def _pass_on(path: Path, progress: "Progress | None") -> None:
    if progress is not None:
        with suppress(OSError, ValueError):
            state = json.loads(path.read_text())
            progress(state["done"], state["total"], unit=state["unit"], note=state["note"])


def _end(launcher: "subprocess.Popen[bytes]") -> None:
    """End the launcher, and what is in its process group. Processes that it put into groups of their own end as they
    find their parent's lock free.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if launcher.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(launcher.pid, number)
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(launcher.pid, signal.SIGKILL)


def _outcome(code: int, work: Path) -> dict[str, Any]:
    """The summary that the first process left, or the error of one that failed."""
    for path in sorted(work.glob("error.*.json")):
        failure = read_json(path)
        raise {"StopBranch": StopBranch, "UserError": UserError}[failure["kind"]](failure["message"])
    if code != 0 or not (work / "result.json").exists():
        log = work / "launch.log"
        raise RuntimeError(
            f"accelerate launch ended with status {code}: {_last_error(log)}; all of it: {log}"
        )
    summary: dict[str, Any] = read_json(work / "result.json")
    return summary


def _last_error(log: Path) -> str:
    """The last line of a log that names an exception of one of the processes."""
    named = re.compile(r"(?:\[rank\d+\]: )?(\w[\w.]*(?:Error|Exception): .+)")
    errors = [
        match[1] for line in log.read_text(errors="replace").splitlines() if (match := named.match(line))
    ]
    return errors[-1][:300] if errors else "no exception is in its log"
