"""A worker process: the scheduler's loop over the driver's graph, which it gets as JSON, never as a pickle.

It ends with its driver: the driver holds the other end of its standard input, and the kernel closes that
with the driver, however it dies. A step that cannot be interrupted is killed after a grace period, with
all it started.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from w2s_core.engine import accepted
from w2s_core.engine.disk import DiskFullError
from w2s_core.engine.executors.imports import import_all
from w2s_core.engine.executors.loop import EXIT_INTERRUPTED, Loop, terminable
from w2s_core.engine.session import Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import Store
from w2s_core.engine.walk import Event
from w2s_core.errors import UserError, describe

GRACE_S = 5.0
BEAT_S = 5.0


def main(job_path: str, descriptor: str) -> int:
    """Work through the job in the file `job_path`, telling events as JSON lines to the open file
    `descriptor`.
    """
    events = _Events(int(descriptor))
    threading.Thread(target=_end_with_driver, daemon=True).start()
    with terminable():
        try:
            _work(json.loads(Path(job_path).read_text()), Path(job_path).parent, events)
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except (DiskFullError, UserError) as error:
            events.tell({"event": "abort", "kind": type(error).__name__, "message": str(error)})
            return 1
        except OSError as error:
            events.tell({"event": "abort", "kind": "UserError", "message": describe(error)})
            return 1
    return 0


def _work(job: dict[str, Any], folder: Path, events: "_Events") -> None:
    import_all(job["imports"])
    store = Store(job["root"])
    accepted.use(job["accepted"])  # the driver's: others may have accepted more since it started
    session = Session.join(store, folder)
    handles = Handle.from_specs(job["specs"])
    targets = {label: handles[key] for label, key in job["targets"].items()}
    events.tell({"event": "ready"})
    threading.Thread(target=_beat, args=(events,), daemon=True).start()
    Loop(targets, store, session, job["runtime"], events.tell).run()


class _Events:
    """The pipe to the driver, one JSON line an event."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        data = (json.dumps(event) + "\n").encode()
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._descriptor, data) :]
        except BrokenPipeError:  # the driver is gone
            raise KeyboardInterrupt from None


def _beat(events: _Events) -> None:
    """Tell the driver again and again that this process lives."""
    with suppress(KeyboardInterrupt):  # the driver is gone
        while True:
            time.sleep(BEAT_S)
            events.tell({"event": "alive"})


def _end_with_driver() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
