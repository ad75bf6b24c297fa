"""One step, computed under its lock: in the same way inline, in worker processes and in Ray tasks.

Before a step is computed, a result with the same content name is looked up (`contents.py`) and linked. The lock of a
step's key comes first, then that of its work, which is never waited for: so no two processes can wait for each other.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from w2s_core.engine import disk, locks
from w2s_core.engine.contents import Names, content_of, names_in, names_of, worth_s
from w2s_core.engine.context import Context, Earlier
from w2s_core.engine.planning import Estimates, remember
from w2s_core.engine.redaction import redact_text
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.spec import map_leaves
from w2s_core.engine.step import Handle
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.errors import UserError


class BusyError(Exception):
    """A live process computes what the step would compute; `lock` is the path of that lock."""

    def __init__(self, lock: Path) -> None:
        super().__init__(lock)
        self.lock = lock


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
            CorruptObjectError: an input or a result of the same content was damaged, and moved to quarantine.
            KeyError: an input is gone; another process found it damaged.
            BusyError: another process computes the same; try again later.
            DiskFullError: no space for the result.
            KeyboardInterrupt: nothing half-made is left but the step's scratch folder.
        """
        inputs = {parent.key: self._store.path(parent.key) for parent in handle.parents()}
        contents = {key: content_of(self._store.manifest(key)) for key in inputs}
        names = names_of(handle, contents.__getitem__, self._runtime)
        path = self._store.work_lock(names.work)
        lock = locks.try_lock(path, note={"step": handle.name, "key": handle.key})
        if lock is None:
            raise BusyError(path)
        with lock:
            try:
                twins = self._registered(names.content, handle)
                if not any(self._link(handle, names, twin) for twin in twins):
                    self._compute(handle, inputs, names, self._earlier(handle, names))
            except (disk.DiskFullError, CorruptObjectError):
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 - one step's failure is not the run's
                ending = self._ending(handle, error)
                self._session.end_step(handle.key, ending)
                return ending
        return None

    def _registered(self, name: str, handle: Handle) -> Iterator[dict[str, Any]]:
        """The manifests of other stored results that have a name, the latest first."""
        for key in self._store.contents.keys(name):
            with suppress(KeyError):  # gone
                if key != handle.key and name in names_in(manifest := self._store.manifest(key)):
                    yield manifest

    def _link(self, handle: Handle, names: Names, twin: Mapping[str, Any]) -> bool:
        """Make a result of the same content the step's own as well. False: it is gone."""
        started, clock = time.time(), time.monotonic()
        record = {"contents": names.record(), "reused": _same_content(twin)}
        with self._writing(handle) as out:
            if not self._store.link(twin, out):
                return False
            seconds = time.monotonic() - clock
            try:
                self._store.commit(handle, out, twin["summary"], started, seconds, record, twin["files"])
            except ValueError:  # the files are not those of its manifest
                self._store.refuse(twin["key"])
                return False
        self._emit({"event": "finished", "key": handle.key, "seconds": seconds, "same_as": twin["key"]})
        return True

    def _earlier(self, handle: Handle, names: Names) -> list[Earlier]:
        """The results that the step may take parts of."""
        earlier = []
        for manifest in self._registered(names.stream, handle) if names.stream else ():
            with suppress(KeyError):  # gone meanwhile, or one of its inputs
                earlier.append(self._opened(manifest, handle.definition.extends))
        return earlier

    def _opened(self, manifest: Mapping[str, Any], extends: tuple[str, ...]) -> Earlier:
        spec = manifest["spec"]
        arguments = {name: spec["params"][name] for name in extends if name in spec["params"]}
        for name in extends:
            if name in spec["inputs"]:
                arguments[name] = map_leaves(spec["inputs"][name], self._store.path)
        return Earlier(manifest["key"], self._store.path(manifest["key"]), arguments)

    def _compute(
        self, handle: Handle, inputs: Mapping[str, Path], names: Names, earlier: list[Earlier]
    ) -> None:
        key = handle.key
        handle.definition.confirm_code()
        started, clock = time.time(), time.monotonic()
        self._emit({"event": "started", "key": key, "pid": os.getpid()})
        with self._writing(handle) as out:
            context = Context(
                key,
                out,
                self._store.work_folder(key),
                self._runtime,
                self._reporter(key),
                self._store.kept_folder(handle),
                earlier,
                partial(self._warn, handle),
            )
            summary = handle.definition.function(
                context, **handle.arguments(lambda parent: inputs[parent.key])
            )
            seconds = time.monotonic() - clock
            record: dict[str, Any] = {"contents": names.record()}
            if context.taken:
                record["reused"] = self._extended(context.taken)
            self._store.commit(handle, out, summary, started, seconds, record)
        if not context.taken:  # a part of the work tells nothing of how long the whole takes
            remember(self._store, handle, seconds, disk.size(self._store.folder(key)))
        self._emit({"event": "finished", "key": key, "seconds": seconds})

    def _warn(self, handle: Handle, message: str) -> None:
        self._emit({"event": "warning", "key": handle.key, "message": f"warning: {handle.label}: {message}"})

    @contextmanager
    def _writing(self, handle: Handle) -> Iterator[Path]:
        """A folder for the result; what is left of it at the end is removed."""
        try:
            yield self._store.begin(handle.key)
        except BaseException as error:
            if disk.disk_full(error) and not isinstance(error, disk.DiskFullError):
                raise disk.DiskFullError(self._disk_full_message(handle)) from error
            raise
        finally:
            self._store.abandon(handle.key)

    def _extended(self, taken: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
        """What the manifest says of results that were extended."""
        worth = {key: worth_s(self._store.peek(key) or {}) for key in taken}
        return {
            "extends": {key: words for key, (_, words) in taken.items()},
            "saved_s": round(sum(share * worth[key] for key, (share, _) in taken.items()), 4),
        }

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


def _same_content(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest of a linked result says: which result was computed, and when."""
    reused = manifest.get("reused") or {}
    if "same_content_as" in reused:  # linked itself
        return dict(reused) | {"saved_s": round(worth_s(manifest), 4)}
    original = {"same_content_as": manifest["key"], "computed": manifest["started"]}
    return original | {"saved_s": round(worth_s(manifest), 4)}
