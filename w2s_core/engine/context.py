"""What a step's function gets besides its arguments."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.engine import disk

PROGRESS_EVERY_S = 0.25


@dataclass(frozen=True)
class Earlier:
    """A stored result that differs from the one to be computed in nothing but what its step `extends`.

    Its bytes were checked. `arguments` are those that `extends` names, inputs as folders. `gc` may take it away at any
    time: a file of it that is missing is no error.
    """

    key: str
    folder: Path
    arguments: Mapping[str, Any]


class Context:
    """A step's surroundings while it runs.

    Attributes:
        key: the key of the result.
        out: the folder to write the result into; it becomes the stored object.
        work: a scratch folder of this key that survives a kill and is there again at the next try
            (checkpoints); removed when the result is committed.
        runtime: what may differ between runs without changing a result (device, batch sizes, model folders).
        earlier: results of which the step may take over what they hold, see `extending`; it notes in `taken`, by their
            keys, the share of their work that it took over, and in words for people what that was.
        warn: tells the user a line.
    """

    def __init__(
        self,
        key: str,
        out: Path,
        work: Path,
        runtime: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        kept: Path,
        earlier: Sequence[Earlier] = (),
        warn: Callable[[str], None] = disk.warn,
    ) -> None:
        self.key, self.out, self.work, self.runtime = key, out, work / "scratch", runtime
        self.earlier = earlier
        self.taken: dict[str, tuple[float, str]] = {}
        self._record = work / "progress.json"
        self._report, self.warn, self._kept = report, warn, kept
        self._last = 0.0
        self.work.mkdir(parents=True, exist_ok=True)

    def kept(self, name: str) -> Path:
        """A folder for what later steps of the same code may use again; `name` says all else that it stands on.

        It is named after this step's key, and the folders of other keys under the same name lie beside it. What is in
        them may vanish at any time: `gc` deletes what was kept by keys that nothing needs.
        """
        return self._kept / hashlib.sha256(name.encode()).hexdigest()[:32] / self.key

    def progress(self, done: float, total: float | None = None, unit: str = "", note: str = "") -> None:
        """Tell how far the step is: `progress(120, 1000, "questions", "loss 0.31")`. Cheap enough to call
        often.
        """
        now = time.monotonic()
        if now - self._last < PROGRESS_EVERY_S and done != total:
            return
        self._last = now
        record = {"done": done, "total": total, "unit": unit, "note": note, "time": time.time()}
        self._report(record)
        disk.replace_quickly(self._record, json.dumps(record))


def read_progress(work: Path) -> dict[str, Any] | None:
    """How far a step is that runs anywhere on this store: what it last said to `progress`, None if
    nothing.
    """
    try:
        record = disk.read_object(work / "progress.json")
    except (OSError, ValueError):
        return None
    return record if record.keys() >= {"done", "total", "unit", "note"} else None
