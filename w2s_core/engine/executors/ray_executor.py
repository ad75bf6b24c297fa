"""The driver of a Ray cluster: it walks the graph and sends each ready step, as one task, to where the CPUs and the
GPU are that the step declares.

All nodes see the store under one path. The driver computes nothing; its cluster ends with it. Between driver and
tasks go JSON texts only.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from w2s_core.engine import accepted, locks
from w2s_core.engine.canonical import normalise
from w2s_core.engine.context import read_progress
from w2s_core.engine.disk import DiskFullError
from w2s_core.engine.executors.imports import Imports, job_imports
from w2s_core.engine.executors.ray_cluster import Capacity, first_line
from w2s_core.engine.executors.ray_task import begun, run_step
from w2s_core.engine.executors.workers import DEATHS_A_STEP
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.step import Handle, topological
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.engine.walk import Emit, Event, Needs, Walk
from w2s_core.errors import UserError

POLL_S = 0.2
LOOK_EVERY_S = 0.5  # how often the cluster's size and the steps' progress are read
STOP_GRACE_S = 10.0
GONE = {"LocalRayletDiedError", "RaySystemError"}
MANNERS = {
    "WorkerCrashedError": "killed or crashed",
    "NodeDiedError": "its node was lost",
    "OutOfMemoryError": "killed by Ray for lack of memory",
    "TaskCancelledError": "its node was stopped",
}


class RayExecutor:
    """Computes a graph on the cluster that this process has joined, see `ray_cluster`.

    Raises (from `run`):
        DiskFullError: a step had no space for its result; the others were stopped.
        UserError: a node cannot work on the run, or no node can have what a step needs.
        KeyboardInterrupt: the user or SIGTERM asked to stop; the tasks were stopped.
    """

    def __init__(
        self,
        targets: Mapping[str, Handle],
        store: Store,
        session: Session,
        runtime: Mapping[str, Any],
        emit: Emit,
        workers: int | None = None,
        imports: Imports = MappingProxyType({}),
    ) -> None:
        import ray

        self._ray: Any = ray
        self._task = ray.remote(run_step)
        self._store, self._session, self._emit = store, session, emit
        self._capacity = Capacity(workers)
        self._looked = 0.0
        self._gpus = _wants_gpus(runtime, self._capacity)
        self._walk = Walk(targets, store, session, emit, self._needs)
        self.outcome = self._walk.outcome
        self._job = {
            "root": str(store.root),
            "session": str(session.folder),
            "accepted": accepted.in_force(),
            "runtime": normalise(dict(runtime), "runtime"),
        }
        folders = [*imports.get("paths", ()), *(str(Path(entry).absolute()) for entry in sys.path)]
        self._imports = {"modules": imports.get("modules", ()), "paths": folders}
        self._flights: dict[str, _Flight] = {}
        self._deaths: Counter[str] = Counter()

    def run(self) -> None:
        """Go on until every needed step has a result or an ending. Whatever happens, no task is left behind."""
        self._walk.begin()
        self._tell_capacity()
        if self._walk.open and (problem := self._impossible()):
            raise UserError(f"{problem}; see --device, --workers and `ray status`")
        try:
            while self._walk.open:
                self._turn()
        finally:
            self._cancel_all()

    def _turn(self) -> None:
        """Submit what fits, listen a moment, look around now and then."""
        while (key := self._walk.next(self._fits)) is not None:
            if key in self._flights:  # a new plan found it open
                continue
            if locks.is_held(self._store.lock_path(key)):
                self._walk.hold(key)
            else:
                self._submit(key)
        for key in self._landed():
            self._take(self._flights.pop(key))
        if time.monotonic() > self._looked + LOOK_EVERY_S:
            self._look_around()

    def _needs(self, handle: Handle) -> Needs:
        return handle.definition.needs(gpu=self._gpus)

    def _fits(self, needs: Needs) -> bool:
        return self._capacity.has_room(needs, (flight.needs for flight in self._flights.values()))

    def _look_around(self) -> None:
        """See what the cluster has now, and how far the steps are."""
        self._looked = time.monotonic()
        if self._capacity.look():
            self._tell_capacity()
            if problem := self._impossible():
                self._emit({"event": "warning", "message": f"warning: {problem}: waiting for one to join"})
        for flight in self._flights.values():
            self._follow(flight)
        self._walk.release_held()

    def _tell_capacity(self) -> None:
        self._emit({"event": "capacity", "workers": max(1, int(self._capacity.total[0]))})

    def _impossible(self) -> str | None:
        """What no node can have, in words."""
        for needs in sorted({self._needs(self._walk.handles[key]) for key in self._walk.open}):
            if not self._capacity.has_node(needs):
                names = {
                    handle.name for handle in self._walk.handles.values() if self._needs(handle) == needs
                }
                want = f"{needs[0]:g} CPU" + f" and {needs[1]:g} GPU" * bool(needs[1])
                return f"no node of the Ray cluster has the {want} that {', '.join(sorted(names))} needs"
        return None

    def _submit(self, key: str) -> None:
        handle = self._walk.handles[key]
        flight = _Flight(
            key, self._needs(handle), self._session.folder / f"{key}.{time.monotonic_ns()}.begun"
        )
        closure = topological([handle])
        job = {
            **self._job,
            "key": key,
            "begun": str(flight.begun),
            "imports": job_imports(closure, self._imports),
            "specs": [member.spec() for member in closure],
        }
        progress = read_progress(self._store.work_folder(key)) or {}
        flight.said_at = progress.get("time")
        options = {"num_cpus": flight.needs[0], "num_gpus": flight.needs[1], "max_retries": 0}
        flight.ref = self._task.options(name=handle.name, **options).remote(json.dumps(job))
        self._flights[key] = flight

    def _landed(self) -> list[str]:
        """Keys of the tasks that have answered or died; waits a moment for the first."""
        keys = {flight.ref: key for key, flight in self._flights.items()}
        if not keys:
            self._walk.assert_moving()
            time.sleep(POLL_S if self._walk.open else 0.0)
            return []
        ready, _ = self._ray.wait(list(keys), num_returns=1, timeout=POLL_S)
        return [keys[ref] for ref in ready]

    def _take(self, flight: "_Flight") -> None:
        """Sort out how a task ended."""
        key, errors = flight.key, self._ray.exceptions
        try:
            answer: Event = json.loads(self._ray.get(flight.ref))
        except errors.RayError as error:
            cause = error.cause if isinstance(error, errors.RayTaskError) else error
            if not isinstance(cause, errors.RayError):  # our own code raised, or was not there to be called
                raise UserError(
                    "a Ray task could not run; is the same version of the program on all nodes? "
                    f"({_last_line(error)})"
                ) from None
            self._mourn(flight, cause)
            return
        kind = answer["event"]
        if kind == "abort":
            raise (DiskFullError if answer["kind"] == "DiskFullError" else UserError)(answer["message"])
        if kind == "finished":
            self._finish(flight, answer)
        elif kind == "held":
            self._walk.hold(key, Path(answer["lock"]) if "lock" in answer else None)
        elif kind in ("corrupt", "lost"):
            moved = Path(answer["moved_to"]) if answer.get("moved_to") else None
            self._walk.lose(
                CorruptObjectError(answer["key"], answer["problem"], moved) if kind == "corrupt" else None
            )
        else:  # found, or ended: the store or the session says more
            self._walk.push(key)

    def _follow(self, flight: "_Flight") -> None:
        """Tell that a step began to compute, and how far it is."""
        if not flight.started and (where := begun(flight.begun)):
            flight.started = True
            self._emit({"event": "started", "key": flight.key, **where})
        progress = read_progress(self._store.work_folder(flight.key)) if flight.started else None
        if progress and progress.get("time") != flight.said_at:
            flight.said_at = progress.get("time")
            self._emit({"event": "progress", "key": flight.key, **progress})

    def _finish(self, flight: "_Flight", answer: Event) -> None:
        self._follow(flight)
        same_as = answer.get("same_as")
        self._emit({"event": "finished", "key": flight.key, "seconds": answer["seconds"], "same_as": same_as})
        self._walk.finish(flight.key)

    def _mourn(self, flight: "_Flight", error: Exception) -> None:
        """A task's process or node died: the step is sent again, unless it keeps killing them."""
        key, kind = flight.key, type(error).__name__
        if kind in GONE:
            raise UserError(f"the Ray cluster ended ({first_line(error)}); the same command goes on")
        if self._store.has(key):  # the result was committed; only the task's answer was lost with its process
            self._finish(flight, {"seconds": self._store.manifest(key)["duration_s"]})
            return
        manner = MANNERS.get(kind, f"{kind}: {first_line(error)}")
        pid = (begun(flight.begun) or {}).get("pid")
        self._emit({"event": "worker died", "key": key, "pid": pid, "manner": manner})
        self._deaths[key] += 1
        if self._deaths[key] < DEATHS_A_STEP:
            self._walk.push(key)
            return
        ending = Ending("failed", f"its process died {DEATHS_A_STEP} times ({manner})")
        self._session.end_step(key, ending)
        self._walk.end(key, ending)

    def _cancel_all(self) -> None:
        """Interrupt the tasks under way, wait a little, then kill their processes."""
        refs = [flight.ref for flight in self._flights.values()]
        with suppress(self._ray.exceptions.RayError):
            for ref in refs:
                self._ray.cancel(ref)
            left = self._ray.wait(refs, num_returns=len(refs), timeout=STOP_GRACE_S)[1] if refs else []
            for ref in left:
                self._ray.cancel(ref, force=True)


@dataclass
class _Flight:
    """A task under way."""

    key: str
    needs: Needs
    begun: Path
    ref: Any = field(default=None)
    started: bool = False
    said_at: float | None = None


def _wants_gpus(runtime: Mapping[str, Any], capacity: Capacity) -> bool:
    """Whether steps that can use a GPU get one: on "cuda", and on "auto" where the cluster has any."""
    device = str(runtime.get("device", "cpu"))
    return device.startswith("cuda") or (device == "auto" and capacity.total[1] > 0)


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
