"""The bookkeeping of a run over the union of all targets' graphs: what is open, what is ready, how steps ended.

It computes nothing. Whoever walks (this process, a worker, the driver of a Ray cluster) takes ready steps from it and
tells it how they went.
"""

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_core.engine import locks
from w2s_core.engine.chains import base_of, before
from w2s_core.engine.context import read_progress
from w2s_core.engine.planning import Estimates, distinct, needed
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.step import Handle, topological
from w2s_core.engine.store import CorruptObjectError, Store

Event = dict[str, Any]
Emit = Callable[[Event], None]
Needs = tuple[float, float]
TELL_EVERY_S = 1.0

NEEDS = "needs "
"""How the reason of a step begins that could not run because of another one."""
NOTHING: Needs = (0, 0)


@dataclass
class Outcome:
    """What a run did. All keys are of steps; `failed` and `stopped` give the reason, one line each.

    `failed`: steps that raised, their log named in the reason. `stopped`: steps that raised a UserError,
    and those that could not run because an input failed or stopped. `broken_off`: an error ended the whole run, such as
    a full disk.
    """

    done: set[str] = field(default_factory=set)
    cached: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    broken_off: bool = False

    @property
    def complete(self) -> bool:
        """Whether every target has its result."""
        return not (self.failed or self.stopped or self.interrupted or self.broken_off)

    @property
    def reasons(self) -> dict[str, str]:
        """Why steps ended by themselves, by key; those that could not run because of another are left out."""
        ended = {**self.failed, **self.stopped}
        return {key: reason for key, reason in ended.items() if not reason.startswith(NEEDS)}

    def take(self, other: "Outcome") -> None:
        """Hold what another one holds of steps."""
        self.done, self.cached = other.done, other.cached
        self.failed, self.stopped = other.failed, other.stopped


class Walk:
    """The state of one walk. `handles` are all steps by key, inputs first; `open` are the keys still to come.

    `needs` says which resources (CPUs, GPUs) a step takes, for `next` to choose by.
    """

    def __init__(
        self,
        targets: Mapping[str, Handle],
        store: Store,
        session: Session,
        emit: Emit,
        needs: Callable[[Handle], Needs] = lambda handle: NOTHING,
    ) -> None:
        self.outcome = Outcome()
        self.open: set[str] = set()
        self.handles = distinct(targets.values())
        self._targets = list(targets.values())
        self._store, self._session, self._emit, self._needs = store, session, emit, needs
        self._urgency = urgencies(self.handles, Estimates(store))
        self._rank = ranks(targets)
        self._before = before(self.handles)
        self._after = {key: after for after, key in self._before.items()}
        # What a step starts from, or is cut from, goes before it, whichever run it is of.
        for after in reversed(self._before):
            key = self._before[after]
            self._rank[key] = min(self._rank[key], self._rank[after])
            self._urgency[key] += self._urgency[after]
        self._bases = {key: base_of(handle) for key, handle in self.handles.items()}
        self._base: str | None = None
        self._dependants: dict[str, list[str]] = defaultdict(list)
        for key, handle in self.handles.items():
            for parent in {parent.key for parent in handle.parents()}:
                self._dependants[parent].append(key)
        self._blocking: dict[str, int] = {}
        self._ready: dict[tuple[Needs, str | None], list[tuple[int, float, str]]] = {}
        self._held: list[str] = []
        self._told: dict[str, float] = {}

    def begin(self) -> None:
        """Find what is needed and ready."""
        self.replan()
        self.outcome.cached = self._existing & self.handles.keys()

    def replan(self) -> None:
        """Find it again, since a result that was thought to exist is damaged or gone."""
        self._existing = {key for key in self.handles if self._store.has(key)}
        self.open = needed(self._targets, self._existing)
        self._ready, self._held = {}, []
        for key in self.open:
            parents = {parent.key for parent in self.handles[key].parents()}
            self._blocking[key] = len(parents & self.open) + (self._before.get(key) in self.open)
        for key in [key for key in self.open if not self._blocking[key]]:
            self.push(key)
        for key in [*self.outcome.failed, *self.outcome.stopped]:
            if key in self.open:
                self._close(key)

    def next(
        self, fits: Callable[[Needs], bool] = lambda needs: True, *, same_base: bool = False
    ) -> str | None:
        """The most urgent ready step among those whose needs fit; it is taken out. None: there is none.

        `same_base`: of the same run's, first those that load what the step before them loaded.
        """
        while heads := [
            ((rank, same_base and base != self._base, urgency, key), needs, base)
            for (needs, base), heap in self._ready.items()
            if heap and fits(needs)
            for rank, urgency, key in heap[:1]
        ]:
            (*_, key), needs, base = min(heads, key=lambda head: head[0])
            heapq.heappop(self._ready[needs, base])
            if key in self.open and not self.settled(key):
                self._base = base or self._base
                return key
        return None

    def assert_moving(self) -> None:
        """Raises RuntimeError where steps are open, though none is under way, ready or held: nothing would ever end."""
        if self.open and not self._held and not any(self._ready.values()):
            raise RuntimeError(f"no step is ready, yet {len(self.open)} are open: the graph has a cycle")

    def push(self, key: str) -> None:
        """A step is ready."""
        heap = self._ready.setdefault((self._needs(self.handles[key]), self._bases[key]), [])
        heapq.heappush(heap, (self._rank[key], -self._urgency[key], key))

    def hold(self, key: str, lock: Path | None = None) -> None:
        """Another live process computes the step, or the same under another key, whose `lock` it holds. Tells who, and
        how far it is, once a second at most.
        """
        self._held.append(key)
        now = time.monotonic()
        if now < self._told.get(key, 0.0) + TELL_EVERY_S:
            return
        self._told[key] = now
        owner = locks.owner(lock or self._store.lock_path(key))
        event = {"event": "waiting", "key": key, "pid": owner.get("pid"), "host": owner.get("host")}
        self._emit({**event, "progress": read_progress(self._store.work_folder(owner.get("key", key)))})

    @property
    def waits(self) -> bool:
        """Whether steps are held by other processes."""
        return bool(self._held)

    def release_held(self) -> None:
        """Try the held steps again."""
        held, self._held = self._held, []
        for key in held:
            self.push(key)

    def settled(self, key: str) -> bool:
        """Whether the step has a result or an ending by now, from this process or another."""
        if self._store.has(key):
            self._emit({"event": "found", "key": key})
            self.finish(key)
            return True
        if ending := self._session.ending(key):
            self.end(key, ending)
            return True
        return False

    def finish(self, key: str) -> None:
        """A result exists: what waited for it alone is ready."""
        self.outcome.done.add(key)
        if key not in self.open:
            return
        self.open.discard(key)
        for name in (*self._dependants[key], *self._follower(key)):
            self._unblock(name)

    def _follower(self, key: str) -> Iterator[str]:
        """The step that waited for this one's result, or for its end without one, to start from it."""
        if key in self._after:
            yield self._after[key]

    def _unblock(self, key: str) -> None:
        """What a step waited for came to an end."""
        if key in self.open:
            self._blocking[key] -= 1
            if not self._blocking[key]:
                self.push(key)

    def end(self, key: str, ending: Ending) -> None:
        """Note a step's end without a result, and stop all that need it."""
        table = self.outcome.failed if ending.kind == "failed" else self.outcome.stopped
        table[key] = ending.reason
        self._emit({"event": ending.kind, "key": key, "reason": ending.reason})
        self._close(key)

    def lose(self, error: CorruptObjectError | None) -> None:
        """An input was found damaged (None: it is gone, another process found it so): plan again."""
        if error:
            self.outcome.cached.discard(error.key)
            self.outcome.done.discard(error.key)
            self._emit(corrupt_event(error))
        self.replan()

    def _close(self, key: str) -> None:
        """Take a step that will have no result, and all open steps that need it, out of the walk."""
        origin = self.handles[key]
        reason = self.outcome.failed.get(key) or self.outcome.stopped[key]
        queue = [key]
        while queue:
            closing = queue.pop()
            if closing in self.open:
                self.open.discard(closing)
                for after in self._follower(closing):
                    self._unblock(after)
            for name in self._dependants[closing]:
                if name in self.open:
                    self.outcome.stopped[name] = f"{NEEDS}{origin.label}: {reason}"
                    self._emit(
                        {"event": "stopped", "key": name, "reason": self.outcome.stopped[name], "origin": key}
                    )
                    queue.append(name)


def corrupt_event(error: CorruptObjectError) -> Event:
    """The warning that a result was found damaged and moved to quarantine."""
    moved = str(error.moved_to) if error.moved_to else None
    return {"event": "corrupt", "key": error.key, "problem": error.problem, "moved_to": moved}


def ranks(targets: Mapping[str, Handle]) -> dict[str, int]:
    """The number of the first run that needs a step, by key. A run's targets are those labelled `RUN: ...`.

    Steps of earlier runs go first: the first results of a sweep then come early, and cost little at its end, since the
    processes that find nothing to do for one run work for the next.
    """
    first: dict[str, int] = {}
    runs: dict[str, list[Handle]] = {}
    for label, handle in targets.items():
        name, colon, _ = label.partition(": ")
        runs.setdefault(name if colon else "", []).append(handle)
    for number, handles in enumerate(runs.values()):
        for handle in topological(handles, known=lambda handle: handle.key in first):
            first.setdefault(handle.key, number)
    return first


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
