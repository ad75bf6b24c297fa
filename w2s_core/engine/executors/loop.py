"""The scheduler: the union of all targets' graphs, each key once, inline or by several processes.

Every process runs the same loop over the same graph. What is missing is seen in the store, who computes is
decided by the key's lock, and what failed stands in the session; so a killed process costs the step that
it was in and no more.
"""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from w2s_core.engine import locks
from w2s_core.engine.executors.attempt import Attempts, BusyError
from w2s_core.engine.session import Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.engine.walk import Emit, Walk

POLL_S = 0.1
EXIT_INTERRUPTED = 130  # of a worker process
_asked_to_stop = threading.Event()
"""An interrupt came, whatever became of its exception."""
INTERRUPTED = "interrupted; the same command goes on where it stopped"


class Loop:
    """One process's walk over the graph: take the most urgent ready step whose lock is free, compute it,
    go on. `alone`: no other worker shares the graph.

    Raises (from `run`):
        disk.DiskFullError: no space for a result.
        KeyboardInterrupt: the user or a signal asked to stop; nothing half-made is left but the step's
            scratch folder.
    """

    def __init__(
        self,
        targets: Mapping[str, Handle],
        store: Store,
        session: Session,
        runtime: Mapping[str, Any],
        emit: Emit,
        *,
        alone: bool = False,
    ) -> None:
        self._store = store
        self._walk = Walk(targets, store, session, emit)
        self._attempts = Attempts(store, session, runtime, emit)
        self._alone = alone
        self.outcome = self._walk.outcome

    def run(self) -> None:
        """Go on until every needed step has a result or an ending."""
        self._walk.begin()
        while self._walk.open:
            if _asked_to_stop.is_set():
                raise KeyboardInterrupt
            # Beside other workers the longest chain goes first, whatever has to be loaded for it.
            if key := self._walk.next(same_base=self._alone):
                self._claim(key)
            elif self._walk.waits:  # live processes hold all that is ready
                time.sleep(POLL_S)
                self._walk.release_held()
            else:
                self._walk.assert_moving()

    def _claim(self, key: str) -> None:
        handle = self._walk.handles[key]
        lock = locks.try_lock(self._store.lock_path(key), note={"step": handle.name})
        if lock is None:
            self._walk.hold(key)
            return
        with lock:
            if not self._walk.settled(key):  # another process may have finished it before we got the lock
                self._attempt(handle)

    def _attempt(self, handle: Handle) -> None:
        """Compute a step and sort out how it ended."""
        try:
            ending = self._attempts.attempt(handle)
        except CorruptObjectError as error:
            self._walk.lose(error)
        except BusyError as error:
            self._walk.hold(handle.key, error.lock)
        except KeyError:
            self._walk.lose(None)
        else:
            if ending:
                self._walk.end(handle.key, ending)
            else:
                self._walk.finish(handle.key)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP interrupt as Ctrl-C does, and none is lost: where a library that is being imported
    swallows the exception, `Loop` stops after the step. Only the main thread can receive signals; elsewhere it does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        _asked_to_stop.set()
        raise KeyboardInterrupt

    optional = (signal.SIGINT, signal.SIGHUP)  # ignored under nohup, say
    caught = [signal.SIGTERM, *(n for n in optional if signal.getsignal(n) != signal.SIG_IGN)]
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked_to_stop.clear()
