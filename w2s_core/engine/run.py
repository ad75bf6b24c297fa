"""`run_graph`: one call that computes everything the targets miss, inline or with worker processes."""

from collections.abc import Mapping
from typing import Any, Protocol

from w2s_core.engine.planning import Planned, plan
from w2s_core.engine.scheduler import INTERRUPTED, Event, Loop, Outcome, terminable
from w2s_core.engine.session import Session
from w2s_core.engine.step import Handle
from w2s_core.engine.store import Store


class Display(Protocol):
    """Shows a run. `begin` gets the plan, then come events as they happen, then `end`, always."""

    def begin(self, planned: list[Planned]) -> None: ...

    def event(self, event: Event) -> None: ...

    def end(self, outcome: Outcome) -> None: ...


class Silence:
    """A display that shows nothing."""

    def begin(self, planned: list[Planned]) -> None:
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
    """Compute what the targets miss, each key once, and return what happened. Interrupting it loses no finished step.

    Args:
        targets: handles by label; their graphs are united.
        workers: 1 computes in this process; more start that many processes, and then `runtime` must be JSON.
        runtime: what steps find in `ctx.runtime`; in no key.
        display: see `Display`; None shows nothing.

    Raises:
        UserError: the disk is full. Errors of single steps are no exceptions: they stand in the outcome.
    """
    shown = display or Silence()
    shown.begin(plan(targets, store))
    outcome = Outcome()
    try:
        session = Session.open(store, _all(targets))
        try:
            loop = Loop(targets, store, session, runtime or {}, shown.event)
            outcome = loop.outcome
            with terminable():
                loop.run()
        except KeyboardInterrupt:
            outcome.interrupted = True
            shown.event({"event": "interrupted", "message": INTERRUPTED})
        finally:
            session.close()
    finally:
        shown.end(outcome)
    return outcome


def _all(targets: Mapping[str, Handle]) -> list[Handle]:
    from w2s_core.engine.planning import distinct

    return list(distinct(targets.values()).values())
