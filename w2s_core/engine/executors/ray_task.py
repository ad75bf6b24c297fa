"""One step as a Ray task: what runs on a node of the cluster. Job and answer are JSON, never a pickled object.

The store is the truth here too: the task takes the key's lock, and finds inputs and writes the result where every
other process would. It imports no Ray, so that it can be called as a plain function.
"""

import json
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from w2s_core.engine import accepted, disk, locks
from w2s_core.engine.disk import DiskFullError
from w2s_core.engine.executors.attempt import Attempts, BusyError
from w2s_core.engine.executors.imports import import_all
from w2s_core.engine.executors.loop import terminable
from w2s_core.engine.session import Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.engine.walk import Event, corrupt_event
from w2s_core.errors import UserError


def run_step(text: str) -> str:
    """Compute one step. The answer's "event" is finished, found, held (a live process computes it, or the same), ended
    (stopped or failed before), stopped, failed, corrupt or lost (an input), or abort: this node cannot work on the run.

    Raises:
        KeyboardInterrupt: the task was cancelled, or its node is being stopped.
    """
    job = json.loads(text)
    with terminable():
        try:
            answer = _run(job)
        except (DiskFullError, UserError) as error:
            answer = {"event": "abort", "kind": type(error).__name__, "message": str(error)}
    return json.dumps({**answer, **_here()})


def _run(job: dict[str, Any]) -> Event:
    store, session = _join(job["root"], job["session"])
    import_all(job["imports"])
    accepted.use(job["accepted"])  # the driver's: others may have accepted more since it started
    handle = Handle.from_specs(job["specs"])[job["key"]]
    lock = locks.try_lock(store.lock_path(handle.key), note={"step": handle.name})
    if lock is None:
        return {"event": "held"}
    with lock:
        if store.has(handle.key):
            return {"event": "found"}
        if session.ending(handle.key):
            return {"event": "ended"}
        return _attempt(handle, job, store, session)


def _attempt(handle: Handle, job: dict[str, Any], store: Store, session: Session) -> Event:
    finished: list[Event] = []

    def tell(event: Event) -> None:
        if event["event"] == "started":
            disk.replace_quickly(Path(job["begun"]), json.dumps(_here()))
        elif event["event"] == "finished":
            finished.append(event)
        elif event["event"] == "warning":
            disk.warn(event["message"])

    try:
        ending = Attempts(store, session, job["runtime"], tell).attempt(handle)
    except CorruptObjectError as error:
        return corrupt_event(error)
    except BusyError as error:
        return {"event": "held", "lock": str(error.lock)}
    except KeyError:
        return {"event": "lost"}
    return {"event": "ended"} if ending else finished[0]


@cache
def _join(root: str, folder: str) -> tuple[Store, Session]:
    """The store and the session, once in the life of a process. The driver holds the session's lock; that it is seen
    here as held shows that this node has the driver's store, and that locks reach over the file system.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"host {socket.gethostname()} does not see the store {root}: with Ray it must lie on a file system that "
            "all nodes share, under the same path"
        )
    if not locks.is_held(Path(folder) / "lock"):
        raise UserError(
            f"file locks of the store {root} do not reach host {socket.gethostname()}: mount its file system with "
            "flock on all nodes"
        )
    store = Store(root)
    return store, Session.join(store, Path(folder))


def begun(path: Path) -> Event | None:
    """Where a task runs that has begun to compute: {"pid", "host"}; None before that."""
    with suppress(OSError, ValueError):
        return disk.read_object(path)
    return None


def _here() -> Event:
    return {"pid": os.getpid(), "host": socket.gethostname()}
