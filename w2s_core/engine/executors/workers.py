"""The driver of worker processes: starts them, passes their events on, replaces those that die, and ends
them all.
"""

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from w2s_core.engine import accepted, disk
from w2s_core.engine.canonical import normalise
from w2s_core.engine.disk import DiskFullError
from w2s_core.engine.executors.imports import Imports, job_imports
from w2s_core.engine.executors.loop import EXIT_INTERRUPTED
from w2s_core.engine.planning import distinct
from w2s_core.engine.redaction import redact_text
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import Store
from w2s_core.engine.walk import Emit, Event, Outcome
from w2s_core.errors import UserError, one_line

STOP_GRACE_S = 10.0
DEATHS_A_STEP = 3
START_LIMIT_S = 300.0
"""For a worker's imports, until it says that it is ready."""
SILENCE_LIMIT_S = 60.0
"""A worker tells every few seconds that it lives, whatever its step does, as long as threads of Python get their turn.
Silence alone is no death: some libraries hold the interpreter for an hour. One whose address space is used up too
waits for ever: OpenBLAS asks again and again for memory that it cannot get.
"""
ROOM_BYTES = 64_000_000  # OpenBLAS asks for 32 MiB at once


class Workers:
    """`count` processes over one graph. The driver computes nothing; `run` returns when all have ended.

    Raises (from `run`):
        DiskFullError: a worker had no space for a result; the others were stopped.
        UserError: a worker could not begin, since the code changed meanwhile, it died at once or did not get ready,
            or it has no address space left.
    """

    def __init__(
        self,
        count: int,
        targets: Mapping[str, Handle],
        store: Store,
        session: Session,
        runtime: Mapping[str, Any],
        emit: Emit,
        imports: Imports = MappingProxyType({}),
    ) -> None:
        self.outcome = Outcome()
        self._store, self._session, self._emit = store, session, emit
        self._count = count
        self._handles = distinct(targets.values())
        self._job = session.folder / "job.json"
        disk.write_durably(self._job, json.dumps(_job(targets, store, runtime, imports)))
        self._live: dict[int, _Process] = {}
        self._selector = selectors.DefaultSelector()
        self._deaths: Counter[str] = Counter()
        self._started = 0

    def run(self) -> None:
        """Run to the end. Whatever happens, no worker and nothing that one started is left behind."""
        self.outcome.cached = {key for key in self._handles if self._store.has(key)}
        try:
            for _ in range(self._count):
                self._start()
            while self._live:
                before = time.monotonic()
                self._listen(timeout_s=0.2)
                self._mind_silence(
                    min(time.monotonic() - before, 1.0)
                )  # the driver may have been stopped meanwhile
                for process in [process for process in self._live.values() if process.has_ended()]:
                    self._bury(process)
        finally:
            self._stop_all()
            self._selector.close()

    def _start(self) -> None:
        self._started += 1
        log = self._store.root / "logs" / f"worker-{self._session.folder.name}.{self._started}.txt"
        process = _Process(self._job, log)
        self._live[process.pid] = process
        self._selector.register(process.events, selectors.EVENT_READ, process)

    def _listen(self, timeout_s: float) -> None:
        for selected, _ in self._selector.select(timeout_s):
            for event in selected.data.read():
                self._receive(selected.data, event)

    def _mind_silence(self, seconds: float) -> None:
        """Raise UserError for a worker that shows no sign of life."""
        for process in self._live.values():
            process.silent_s += seconds
            if not process.ready and process.silent_s > START_LIMIT_S:
                raise UserError(
                    f"worker process {process.pid} did not get ready within {START_LIMIT_S:.0f} s{process.last_words}"
                )
            if process.silent_s > SILENCE_LIMIT_S and process.lacks_room():
                raise UserError(
                    f"worker process {process.pid} is stuck: its limit on address space (ulimit -v) is used up. Raise "
                    "the limit, or use fewer --workers; what is computed is kept, the same command goes on"
                )

    def _receive(self, process: "_Process", event: Event) -> None:
        process.silent_s = 0.0
        kind, key = event["event"], event.get("key", "")
        if kind == "abort":
            raise (DiskFullError if event["kind"] == "DiskFullError" else UserError)(event["message"])
        if kind in ("ready", "alive"):
            process.ready = True
            return
        if kind == "started":
            process.running = key
        elif kind in ("finished", "failed", "stopped") and process.running == key:
            process.running = None
        if self._note(kind, key, event):
            self._emit(event)

    def _note(self, kind: str, key: str, event: Event) -> bool:
        """Whether an event is news: what one worker did, the others find and tell again."""
        if kind == "corrupt":
            self.outcome.done.discard(key)
            self.outcome.cached.discard(key)
        elif kind == "finished":
            self.outcome.done.add(key)
        elif kind == "found":
            if key in self.outcome.done or any(process.running == key for process in self._live.values()):
                return False
            self.outcome.done.add(key)
        elif kind in ("failed", "stopped"):
            table = self.outcome.failed if kind == "failed" else self.outcome.stopped
            fresh = key not in table
            table.setdefault(key, event["reason"])
            return fresh
        elif kind == "waiting":
            return event.get("pid") not in self._live
        return True

    def _bury(self, process: "_Process") -> None:
        """Handle the end of a worker: read the events that are left, and start another if it died."""
        for event in process.read():
            self._receive(process, event)
        self._forget(process)
        code = process.reap()
        # The result was committed; only the event that tells of it was lost with the process
        if process.running and self._store.has(process.running):
            seconds = self._store.manifest(process.running)["duration_s"]
            self._receive(process, {"event": "finished", "key": process.running, "seconds": seconds})
        if code in (0, EXIT_INTERRUPTED):
            return
        if not process.ready:
            raise UserError(f"a worker process ended at once ({_manner(code)}){process.last_words}")
        self._mourn(process, code)
        self._start()

    def _mourn(self, process: "_Process", code: int) -> None:
        if process.running and self._deaths[process.running] >= DEATHS_A_STEP:
            return  # it had taken the step up before the last death was noticed: the step has ended, none takes over
        self._emit(
            {"event": "worker died", "key": process.running, "pid": process.pid, "manner": _manner(code)}
        )
        if process.running is None:
            self._deaths[""] += 1
            if self._deaths[""] > self._count * DEATHS_A_STEP:
                raise UserError(f"worker processes keep dying ({_manner(code)}); see {process.log}")
            return
        self._deaths[process.running] += 1
        if self._deaths[process.running] >= DEATHS_A_STEP:
            reason = (
                f"its process died {DEATHS_A_STEP} times ({_manner(code)}); what it said is in {process.log}"
            )
            self._session.end_step(process.running, Ending("failed", reason, str(process.log)))

    def _forget(self, process: "_Process") -> None:
        self._live.pop(process.pid)
        self._selector.unregister(process.events)

    def _stop_all(self) -> None:
        """Ask the living to stop, wait a little, then kill them and everything they started."""
        for process in self._live.values():
            process.signal(signal.SIGTERM)
        try:
            deadline = time.monotonic() + STOP_GRACE_S
            while time.monotonic() < deadline and not all(
                process.has_ended() for process in self._live.values()
            ):
                self._drain()
        finally:
            for process in list(self._live.values()):
                self._forget(process)
                process.reap()

    def _drain(self) -> None:
        """Keep reading, so that no worker blocks on a full pipe while it stops, and note what it still finished."""
        for selected, _ in self._selector.select(0.05):
            events = list(selected.data.read())
            self.outcome.done |= {event["key"] for event in events if event["event"] == "finished"}
            if not events:  # the pipe of a process that ended is always ready
                time.sleep(0.02)


class _Process:
    """One worker process, in a process group of its own: Ctrl-C in a terminal reaches the driver alone."""

    def __init__(self, job: Path, log: Path) -> None:
        self.log = log
        self.ready = False
        self.running: str | None = None
        self.silent_s = 0.0
        self._buffer = b""
        self.events, write_end = os.pipe()
        os.set_blocking(self.events, False)
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        with log.open("ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "w2s_core.engine.executors.worker", str(job), str(write_end)],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[write_end],
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        os.close(write_end)
        self.pid = self._process.pid

    def read(self) -> Iterator[Event]:
        """The events that have arrived whole. A line that a killed worker left unfinished is no event."""
        while data := self.read_bytes():
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def read_bytes(self) -> bytes:
        try:
            return os.read(self.events, 1 << 16)
        except BlockingIOError:
            return b""

    @property
    def last_words(self) -> str:
        """The end of an error message: the last line of its log, and where that is."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {redact_text(one_line(last))[:200]} (see {self.log})" if last else ""

    def lacks_room(self) -> bool:
        """Whether it runs, not stopped, and has used up its limit on address space. The limit is the driver's too."""
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return False
        try:
            state, *fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # no Linux
            return False
        return state == "R" and limit - int(fields[19]) < ROOM_BYTES  # its size in bytes

    def has_ended(self) -> bool:
        """Whether it ended; it stays a zombie until `reap`, so that its process group keeps its number."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def reap(self) -> int:
        """Kill what is left of its process group, and return its exit status."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        os.close(self.events)
        if code == 0 or self.log.stat().st_size == 0:
            self.log.unlink(missing_ok=True)
        return code


def _job(
    targets: Mapping[str, Handle], store: Store, runtime: Mapping[str, Any], imports: Imports
) -> dict[str, Any]:
    handles = distinct(targets.values())
    return {
        "root": str(store.root),
        "accepted": accepted.in_force(),
        "imports": job_imports(handles.values(), imports),
        "specs": [handle.spec() for handle in handles.values()],
        "targets": {label: handle.key for label, handle in targets.items()},
        "runtime": normalise(dict(runtime), "runtime"),
    }


def _manner(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    if -code == signal.SIGKILL:
        return "killed by SIGKILL, perhaps for lack of memory"
    return f"signal {signal.Signals(-code).name}"
