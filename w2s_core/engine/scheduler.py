"""The scheduler: the union of all targets' graphs, each key once, inline or by several processes.

Every process runs the same loop over the same graph. What is missing is seen in the store, who computes is
decided by the key's lock, and what failed stands in the session; so a killed process costs the step that
it was in and no more.
"""

import heapq
import os
import signal
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_core.engine import disk, locks
from w2s_core.engine.context import Context, read_progress
from w2s_core.engine.planning import Estimates, distinct, needed, remember
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.errors import UserError

Event = dict[str, Any]
Emit = Callable[[Event], None]
POLL_S = 0.1
TELL_EVERY_S = 1.0
INTERRUPTED = "interrupted; the same command goes on where it stopped"

NEEDS = "needs "
"""How the reason of a step begins that could not run because of another one."""


@dataclass
class Outcome:
    """What a run did. All keys are of steps; `failed` and `stopped` give the reason, one line each.

    `failed`: steps that raised, their log named in the reason. `stopped`: steps that raised a UserError,
    and those that could not run because an input failed or stopped.
    """

    done: set[str] = field(default_factory=set)
    cached: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every target has its result."""
        return not (self.failed or self.stopped or self.interrupted)


class Loop:
    """One process's walk over the graph: take the most urgent ready step whose lock is free, compute it,
    go on.

    Raises (from `run`):
        disk.DiskFullError: no space for a result.
        KeyboardInterrupt: the user or SIGTERM asked to stop; nothing half-made is left but the step's
            scratch folder.
    """

    def __init__(
        self,
        targets: Mapping[str, Handle],
        store: Store,
        session: Session,
        runtime: Mapping[str, Any],
        emit: Emit,
    ) -> None:
        self.outcome = Outcome()
        self._targets = list(targets.values())
        self._store, self._session, self._runtime, self._emit = store, session, runtime, emit
        self._handles = distinct(self._targets)
        self._estimates = Estimates(store)
        self._urgency = urgencies(self._handles, self._estimates)
        self._dependants: dict[str, list[str]] = defaultdict(list)
        for key, handle in self._handles.items():
            for parent in {parent.key for parent in handle.parents()}:
                self._dependants[parent].append(key)
        self._open: set[str] = set()
        self._blocking: dict[str, int] = {}
        self._ready: list[tuple[float, str]] = []
        self._held: list[str] = []
        self._told: dict[str, float] = {}

    def run(self) -> None:
        """Go on until every needed step has a result or an ending."""
        self._plan()
        self.outcome.cached = self._existing & self._handles.keys()
        while self._open:
            self._turn()

    def _plan(self) -> None:
        """Find what is needed and ready. Run again when a result turns out to be damaged."""
        self._existing = {key for key in self._handles if self._store.has(key)}
        self._open = needed(self._targets, self._existing)
        self._ready, self._held = [], []
        for key in self._open:
            parents = {parent.key for parent in self._handles[key].parents()}
            self._blocking[key] = len(parents & self._open)
        for key in [key for key in self._open if not self._blocking[key]]:
            self._push(key)
        for key in [*self.outcome.failed, *self.outcome.stopped]:
            if key in self._open:
                self._close(key)

    def _turn(self) -> None:
        """Take the most urgent ready step; when live processes hold all of them, wait a moment."""
        if self._ready:
            key = heapq.heappop(self._ready)[1]
            if key in self._open and not self._settled(key):
                self._claim(key)
            return
        if not self._held:
            raise RuntimeError(f"no step is ready, yet {len(self._open)} are open: the graph has a cycle")
        time.sleep(POLL_S)
        held, self._held = self._held, []
        for key in held:
            self._push(key)

    def _settled(self, key: str) -> bool:
        """Whether the step has a result or an ending by now, from this process or another."""
        if self._store.has(key):
            self.outcome.done.add(key)
            self._emit({"event": "found", "key": key})
            self._finish(key)
            return True
        if ending := self._session.ending(key):
            self._end(key, ending)
            return True
        return False

    def _claim(self, key: str) -> None:
        lock = locks.try_lock(self._store.lock_path(key), note={"step": self._handles[key].name})
        if lock is None:
            self._held.append(key)
            self._tell_owner(key)
            return
        with lock:
            if not self._settled(key):  # another process may have finished it before we got the lock
                self._attempt(self._handles[key])

    def _tell_owner(self, key: str) -> None:
        """Tell who computes a step that we wait for, and how far it is; once a second at most."""
        now = time.monotonic()
        if now < self._told.get(key, 0.0) + TELL_EVERY_S:
            return
        self._told[key] = now
        found = locks.owner(self._store.lock_path(key))
        told = {"event": "waiting", "key": key, "pid": found.get("pid"), "host": found.get("host")}
        self._emit({**told, "progress": read_progress(self._store.work_folder(key))})

    def _attempt(self, handle: Handle) -> None:
        """Compute a step and sort out how it ended."""
        try:
            inputs = {parent.key: self._store.path(parent.key) for parent in handle.parents()}
        except CorruptObjectError as error:
            self._emit_corrupt(error)
            self._plan()
            return
        except KeyError:  # another process found it damaged and moved it away
            self._plan()
            return
        try:
            self._compute(handle, inputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one step's failure is not the run's
            self._sort_out(handle, error)
        else:
            self.outcome.done.add(handle.key)
            self._finish(handle.key)

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
        remember(self._store, handle, seconds, _size(self._store.folder(key)))
        self._emit({"event": "finished", "key": key, "seconds": seconds})

    def _reporter(self, key: str) -> Callable[[dict[str, Any]], None]:
        return lambda said: self._emit({"event": "progress", "key": key, **said})

    def _sort_out(self, handle: Handle, error: BaseException) -> None:
        if isinstance(error, disk.DiskFullError):
            raise error
        if isinstance(error, UserError):
            ending = Ending("stopped", str(error))
        else:
            log = self._store.log_path(handle.key)
            with suppress(OSError):
                log.write_text("".join(traceback.format_exception(error)))
            said = str(error).strip().splitlines() or [""]
            ending = Ending(
                "failed", f"{type(error).__name__}: {said[0][:200]} (traceback in {log})", str(log)
            )
        self._session.end_step(handle.key, ending)
        self._end(handle.key, ending)

    def _disk_full_message(self, handle: Handle) -> str:
        written = sum(_size(left) for left in (self._store.root / "tmp").glob(f"{handle.key}.*"))
        size = max(written, self._estimates.size(handle) or 0)
        return disk.full_message(self._store.root, f"writing {handle.name}", size)

    def _end(self, key: str, ending: Ending) -> None:
        """Note a step's end without a result, and stop all that need it."""
        table = self.outcome.failed if ending.kind == "failed" else self.outcome.stopped
        table[key] = ending.reason
        self._emit({"event": ending.kind, "key": key, "reason": ending.reason})
        self._close(key)

    def _close(self, key: str) -> None:
        """Take a step that will have no result, and all open steps that need it, out of the walk."""
        origin = self._handles[key]
        reason = self.outcome.failed.get(key) or self.outcome.stopped[key]
        queue = [key]
        while queue:
            closing = queue.pop()
            self._open.discard(closing)
            for name in self._dependants[closing]:
                if name in self._open:
                    self.outcome.stopped[name] = f"{NEEDS}{origin.label}: {reason}"
                    self._emit(
                        {"event": "stopped", "key": name, "reason": self.outcome.stopped[name], "origin": key}
                    )
                    queue.append(name)

    def _finish(self, key: str) -> None:
        """A result exists: what waited for it alone is ready."""
        self._open.discard(key)
        for name in self._dependants[key]:
            if name in self._open:
                self._blocking[name] -= 1
                if not self._blocking[name]:
                    self._push(name)

    def _push(self, key: str) -> None:
        heapq.heappush(self._ready, (-self._urgency[key], key))

    def _emit_corrupt(self, error: CorruptObjectError) -> None:
        self.outcome.cached.discard(error.key)
        self.outcome.done.discard(error.key)
        self._emit(corrupt_event(error))


def corrupt_event(error: CorruptObjectError) -> Event:
    """The warning that a result was found damaged and moved to quarantine."""
    moved = str(error.moved_to) if error.moved_to else None
    return {"event": "corrupt", "key": error.key, "problem": error.problem, "moved_to": moved}


def urgencies(handles: Mapping[str, Handle], estimates: Estimates) -> dict[str, float]:
    """The expected seconds from a step's start to the end of the longest chain that needs it (inputs-first
    mapping).
    """
    seconds = {key: estimates.seconds(handle) for key, handle in handles.items()}
    known = [value for value in seconds.values() if value is not None]
    usual = sum(known) / len(known) if known else 1.0
    below: dict[str, float] = defaultdict(float)
    urgency = {}
    for key in reversed(list(handles)):
        expected = seconds[key]
        urgency[key] = below[key] + (usual if expected is None else expected)
        for parent in handles[key].parents():
            below[parent.key] = max(below[parent.key], urgency[key])
    return urgency


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM interrupts as Ctrl-C does. Only the main thread can receive signals; elsewhere it
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
