"""One step, computed under its lock: in the same way inline, in worker processes and in Ray tasks."""

import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from w2s_core.engine import disk
from w2s_core.engine.context import Context
from w2s_core.engine.planning import Estimates, remember
from w2s_core.engine.redaction import redact_text
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import Store
from w2s_core.errors import UserError


class Attempts:
    """Computes steps for one session. `emit` gets the events started, progress and finished."""

    def __init__(
        self,
        store: Store,
        session: Session,
        runtime: Mapping[str, Any],
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        self._store, self._session, self._runtime, self._emit = store, session, runtime, emit

    def attempt(self, handle: Handle) -> Ending | None:
        """Compute a step from its stored inputs; the caller holds its lock. None: its result is stored now.

        Raises:
            CorruptObjectError: an input was damaged, and moved to quarantine.
            KeyError: an input is gone; another process found it damaged.
            DiskFullError: no space for the result.
            KeyboardInterrupt: nothing half-made is left but the step's scratch folder.
        """
        inputs = {parent.key: self._store.path(parent.key) for parent in handle.parents()}
        try:
            self._compute(handle, inputs)
        except disk.DiskFullError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one step's failure is not the run's
            ending = self._ending(handle, error)
            self._session.end_step(handle.key, ending)
            return ending
        return None

    def _compute(self, handle: Handle, inputs: Mapping[str, Path]) -> None:
        key = handle.key
        handle.definition.confirm_code()
        started, clock = time.time(), time.monotonic()
        self._emit({"event": "started", "key": key, "pid": os.getpid()})
        try:
            out = self._store.begin(key)
            context = Context(key, out, self._store.work_folder(key), self._runtime, self._reporter(key))
            summary = handle.definition.function(
                context, **handle.arguments(lambda parent: inputs[parent.key])
            )
            seconds = time.monotonic() - clock
            self._store.commit(handle, out, summary, started, seconds)
        except BaseException as error:
            if disk.disk_full(error):
                raise disk.DiskFullError(self._disk_full_message(handle)) from error
            raise
        finally:
            self._store.abandon(key)
        remember(self._store, handle, seconds, disk.size(self._store.folder(key)))
        if isinstance(summary, dict) and summary.get("warning"):
            message = f"warning: {handle.label}: {summary['warning']}"
            self._emit({"event": "warning", "key": key, "message": message})
        self._emit({"event": "finished", "key": key, "seconds": seconds})

    def _reporter(self, key: str) -> Callable[[dict[str, Any]], None]:
        return lambda progress: self._emit({"event": "progress", "key": key, **progress})

    def _ending(self, handle: Handle, error: BaseException) -> Ending:
        if isinstance(error, UserError):
            return Ending("stopped", redact_text(str(error)))
        log = self._store.log_path(handle.key)
        with suppress(OSError):
            log.write_text(redact_text("".join(traceback.format_exception(error))))
        lines = redact_text(str(error)).strip().splitlines() or [""]
        return Ending("failed", f"{type(error).__name__}: {lines[0][:200]} (traceback in {log})", str(log))

    def _disk_full_message(self, handle: Handle) -> str:
        written = sum(disk.size(left) for left in (self._store.root / "tmp").glob(f"{handle.key}.*"))
        expected = max(written, Estimates(self._store).size(handle) or 0)
        return disk.full_message(self._store.root, f"writing {handle.name}", expected)
