"""`run_graph`: one call that computes everything the targets miss, inline, with worker processes or on a cluster."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol

from w2s_core.engine import accepted, disk
from w2s_core.engine.executors.imports import Imports, refuse_scripts
from w2s_core.engine.executors.loop import INTERRUPTED, Loop, terminable
from w2s_core.engine.executors.ray_cluster import ray_cluster, require_ray
from w2s_core.engine.executors.ray_executor import RayExecutor
from w2s_core.engine.executors.workers import Workers
from w2s_core.engine.planning import Planned, distinct, plan
from w2s_core.engine.session import Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.engine.walk import Emit, Event, Outcome, corrupt_event
from w2s_core.errors import UserError

Executor = Literal["local", "ray"]


class Display(Protocol):
    """Shows a run. `begin` gets the plan, then come events as they happen, then `end`, always.

    Events are dicts with "event" and mostly "key": started (pid), progress (done, total, unit, note,
    time), finished (seconds; same_as: the key of the result that was linked, where one was), found (another
    process computed it), waiting (pid, host, progress), stopped and failed (reason; origin: the key of the
    input that ended, where it was one), corrupt (problem, moved_to), worker died (pid, manner), capacity
    (workers: how many steps can run side by side now), warning (message), interrupted (message), and what
    the caller adds: note (message; headline: said before the counts of steps from then on).
    """

    def begin(self, planned: list[Planned], workers: int) -> None:
        """The run starts with this plan."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def end(self, outcome: Outcome) -> None:
        """The run is over."""


class Silence:
    """A display that shows nothing."""

    def begin(self, planned: list[Planned], workers: int) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""

    def end(self, outcome: Outcome) -> None:
        """Nothing."""


def run_graph(
    targets: Mapping[str, Handle],
    store: Store,
    *,
    workers: int | None = None,
    runtime: Mapping[str, Any] | None = None,
    display: Display | None = None,
    executor: Executor = "local",
    address: str | None = None,
    imports: Imports = MappingProxyType({}),
) -> Outcome:
    """Compute what the targets miss, each key once, and return what happened. No interruption loses a
    finished step.

    Args:
        targets: handles by label; their graphs are united. Those labelled `RUN: ...` are of one run, and the steps of
            earlier runs go first; else those of the longest chain.
        store: where results are and go; other processes may work on it at the same time.
        workers: 1 (or None) computes in this process; more start that many processes, and then `runtime` must
            be JSON. With Ray, how many CPUs may be used; None: all.
        runtime: what steps find in `ctx.runtime`; in no key.
        display: see `Display`; None shows nothing.
        executor: "ray" runs steps as Ray tasks with the CPUs and GPUs that they declare. Process-wide settings of
            the local executor do not change: without Ray a step takes the GPU that it finds, so that several
            `workers` share it.
        address: of a Ray cluster to join, see `ray_cluster.ray_cluster`, whose nodes all see the store under the
            same path; None starts one on this machine that ends with the call.
        imports: {"modules": names, "paths": folders to find them in}: what worker processes and Ray tasks import
            before they look steps up, besides the modules of the steps themselves.

    Raises:
        UserError: the disk is full, workers cannot work (a step of a script is among them), or Ray cannot be had.
            Errors of single steps stand in the outcome instead.
    """
    if executor == "ray":
        require_ray()
    elif address:
        raise UserError(f"--address {address} is of a Ray cluster: add --executor ray")
    with accepted.pinned(store.accepted):
        means = _Means(executor, workers, address, imports)
        return _run(targets, store, means, runtime or {}, display or Silence())


def _run(
    targets: Mapping[str, Handle],
    store: Store,
    means: "_Means",
    runtime: Mapping[str, Any],
    display: Display,
) -> Outcome:
    damaged = _screen(targets, store)
    planned = plan(targets, store)
    missing = sum(step.state == "missing" for step in planned)
    if means.executor == "local":
        means = replace(means, workers=min(means.workers or 1, missing) or 1)
    if missing and (means.executor == "ray" or (means.workers or 1) > 1):
        refuse_scripts(step.handle for step in planned)
    display.begin(planned, means.workers or os.cpu_count() or 1)
    outcome = Outcome(cached={step.handle.key for step in planned if step.state == "cached"})
    try:
        for error in damaged:
            display.event(corrupt_event(error))
        if missing:
            _compute(outcome, targets, store, means, runtime, display.event)
    finally:
        display.end(outcome)
    return outcome


@dataclass(frozen=True)
class _Means:
    """What computes a graph: this process, worker processes or a Ray cluster."""

    executor: Executor
    workers: int | None
    address: str | None
    imports: Imports

    def cluster(self) -> AbstractContextManager[None]:
        return ray_cluster(self.address, self.workers) if self.executor == "ray" else nullcontext()

    def computer(
        self,
        targets: Mapping[str, Handle],
        store: Store,
        session: Session,
        runtime: Mapping[str, Any],
        emit: Emit,
    ) -> Loop | Workers | RayExecutor:
        if self.executor == "ray":
            return RayExecutor(targets, store, session, runtime, emit, self.workers, self.imports)
        if self.workers and self.workers > 1:
            return Workers(self.workers, targets, store, session, runtime, emit, self.imports)
        return Loop(targets, store, session, runtime, emit, alone=True)


def _compute(
    outcome: Outcome,
    targets: Mapping[str, Handle],
    store: Store,
    means: _Means,
    runtime: Mapping[str, Any],
    emit: Emit,
) -> None:
    """Compute what is missing; `outcome` holds what was done however it ends, with the disk full too."""
    with terminable(), disk.full_is_user_error(store.root, "preparing the run"):
        try:
            outcome.broken_off = True
            with means.cluster(), Session.open(store, distinct(targets.values()).values()) as session:
                computer = means.computer(targets, store, session, runtime, emit)
                try:
                    computer.run()
                finally:
                    outcome.take(computer.outcome)
            outcome.broken_off = False
        except KeyboardInterrupt:
            outcome.interrupted = True
            emit({"event": "interrupted", "message": INTERRUPTED})


def _screen(targets: Mapping[str, Handle], store: Store) -> list[CorruptObjectError]:
    """Check the bytes of those targets that exist, since they are read next. Damaged ones go to
    quarantine.
    """
    damaged = []
    for handle in targets.values():
        try:
            if store.has(handle.key):
                store.path(handle.key)
        except CorruptObjectError as error:
            damaged.append(error)
        except KeyError:  # another process moved it away between the two calls
            continue
    return damaged
