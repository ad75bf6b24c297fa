"""`run_graph`: one call that computes everything the targets miss, inline or with worker processes."""

from collections.abc import Mapping
from typing import Any, Protocol

from w2s_core.engine import disk
from w2s_core.engine.planning import Planned, distinct, plan
from w2s_core.engine.scheduler import INTERRUPTED, Loop, terminable
from w2s_core.engine.session import Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import CorruptObjectError, Store
from w2s_core.engine.walk import Emit, Event, Outcome, corrupt_event
from w2s_core.engine.workers import Workers


class Display(Protocol):
    """Shows a run. `begin` gets the plan, then come events as they happen, then `end`, always.

    Events are dicts with "event" and mostly "key": started (pid), progress (done, total, unit, note,
    time), finished (seconds), found (another process computed it), waiting (pid, host, progress), stopped
    and failed (reason; origin: the key of the input that ended, where it was one), corrupt (problem,
    moved_to), worker died (pid, manner), interrupted (message), and what the caller adds: note (message; headline:
    said before the counts of steps from then on).
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
    workers: int = 1,
    runtime: Mapping[str, Any] | None = None,
    display: Display | None = None,
) -> Outcome:
    """Compute what the targets miss, each key once, and return what happened. No interruption loses a
    finished step.

    Args:
        targets: handles by label; their graphs are united.
        store: where results are and go; other processes may work on it at the same time.
        workers: 1 computes in this process; more start that many processes, and then `runtime` must be JSON.
        runtime: what steps find in `ctx.runtime`; in no key.
        display: see `Display`; None shows nothing.

    Raises:
        UserError: the disk is full, or workers cannot work. Errors of single steps stand in the outcome
            instead.
    """
    shown = display or Silence()
    damaged = _screen(targets, store)
    planned = plan(targets, store)
    missing = sum(one.state == "missing" for one in planned)
    workers = min(workers, missing) or 1
    shown.begin(planned, workers)
    outcome = Outcome(cached={one.handle.key for one in planned if one.state == "cached"})
    try:
        for error in damaged:
            shown.event(corrupt_event(error))
        if missing:
            outcome = _compute(targets, store, workers, runtime or {}, shown.event)
    finally:
        shown.end(outcome)
    return outcome


def _compute(
    targets: Mapping[str, Handle], store: Store, workers: int, runtime: Mapping[str, Any], emit: Emit
) -> Outcome:
    outcome = Outcome()
    with terminable(), disk.full_is_user_error(store.root, "preparing the run"):
        try:
            session = Session.open(store, distinct(targets.values()).values())
            try:
                kind = Workers(workers, targets, store, session, runtime, emit) if workers > 1 else None
                loop = kind or Loop(targets, store, session, runtime, emit)
                outcome = loop.outcome
                loop.run()
            finally:
                session.close()
        except KeyboardInterrupt:
            outcome.interrupted = True
            emit({"event": "interrupted", "message": INTERRUPTED})
    return outcome


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
