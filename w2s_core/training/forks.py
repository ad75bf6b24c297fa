"""Where a training starts that another one has passed through.

Under a schedule that does not know its end, a training's first steps are the same however many follow. So a training
keeps its state near its end, and one with more steps, otherwise the same and on the same kind of machine, starts there.
A step's folder of kept states has the folders of other keys beside it.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from w2s_core.training import checkpoints
from w2s_core.training.watch import LOG_EVERY

Warn = Callable[[str], None]


def kept_at(steps: int) -> int:
    """The step whose state a training of so many full steps keeps; 0 for none.

    It falls on an entry of the log that every training has, so that no entry of a longer one differs.
    """
    return steps // LOG_EVERY * LOG_EVERY


def fork(trainer: Any, work: Path, warn: Warn) -> dict[str, Any] | None:
    """Copy the longest kept state that this training passes through into `work`, unless a checkpoint there is longer.

    Returns whose it is: {"key", "steps" of that training, "from_step" of the state}. None: there is none, or it is of
    this training's own earlier try.
    """
    resumed = checkpoints.latest(work, trainer.request)
    least = checkpoints.step_of(resumed[0]) if resumed else 1
    for step, path in sorted(_states(trainer.kept.parent), reverse=True):
        if not least <= step < trainer.plan.steps:
            continue
        copy = work / path.name
        unfinished = copy.with_name(f"{copy.name}.writing")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            shutil.copytree(path, unfinished)
        except (OSError, shutil.Error):
            continue  # gc took it meanwhile
        state = checkpoints.read(unfinished, trainer.request)
        if state is None:
            shutil.rmtree(path, ignore_errors=True)
            warn(
                f"the kept training state of {path.parent.name[:12]} at step {step} is damaged; it is not used"
            )
        elif state["past"] == trainer.plan.past(step):
            shutil.rmtree(copy, ignore_errors=True)
            unfinished.rename(copy)
            key = path.parent.name
            own = key == trainer.kept.name
            return None if own else {"key": key, "steps": state["steps"], "from_step": step}
        shutil.rmtree(unfinished, ignore_errors=True)
    return None


def _states(folder: Path) -> Iterator[tuple[int, Path]]:
    """The kept states of all keys, each with its step."""
    for path in folder.glob("*/checkpoint-*"):
        with suppress(ValueError):  # one that is being written
            yield checkpoints.step_of(path), path
