"""The cells that are computed together, and how far each of them is."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from w2s_core.engine import Outcome, Store
from w2s_sweeps.cells import CellRun, PlannedCell, share_right
from w2s_sweeps.optuna_study import Slot


@dataclass
class Place:
    """A slot's cell in a batch. `missing`: keys of targets without a result."""

    slot: Slot
    planned: PlannedCell
    missing: set[str]
    intermediate: dict[int, float] = field(default_factory=dict)
    pruned: bool = False
    reason: str | None = None
    reported: bool = False

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to compute."""
        return self.pruned or not self.missing

    @property
    def rungs(self) -> int:
        """After how many models the cell may be given up."""
        return max(len(run.rungs) for run in self.planned.runs)


class Batch:
    """Cells in the order of their slots. They are reported in this order, so that it is the same in every run."""

    def __init__(
        self, slots: Sequence[tuple[Slot, PlannedCell]], store: Store, *, only_missing: bool = False
    ) -> None:
        self._store = store
        places = [Place(slot, planned, _missing(planned, store)) for slot, planned in slots]
        self.places = [place for place in places if place.missing or not only_missing]
        self._users: dict[str, list[Place]] = defaultdict(list)
        for place in self.places:
            for key in place.missing:
                self._users[key].append(place)

    def open(self) -> list[Place]:
        """Those that were neither reported nor given up."""
        return [place for place in self.places if not place.reported and not place.pruned]

    def computed(self, key: str) -> None:
        """A result exists now."""
        for place in self._users.get(key, []):
            place.missing.discard(key)

    def next_ended(self, *, final: bool) -> Place | None:
        """The next cell to report: the first that was not, if it has ended; at the end (`final`) in any state."""
        for place in self.places:
            if not place.reported:
                place.reported = place.ended or final
                return place if place.reported else None
        return None

    def note(self, outcome: Outcome) -> None:
        """Remember why cells are without a result after an attempt.

        What another command computed since the cells were planned, no event of the attempt has told.
        """
        ended = {**outcome.stopped, **outcome.failed}
        for place in self.open():
            place.missing = {key for key in place.missing if not self._store.has(key)}
            reasons = [ended[key] for key in sorted(place.missing & ended.keys())]
            place.reason = min(reasons, key=len, default=None)

    def note_rung(self, place: Place, rung: int) -> None:
        """Read the accuracy of the model at a rung (the first is 1), the mean over seeds, if the cell has it."""
        shares = [self._share(run, rung) for run in place.planned.runs]
        known = [share for share in shares if share is not None]
        if len(known) == len(shares):
            place.intermediate[rung] = sum(known) / len(known)

    def _share(self, run: CellRun, rung: int) -> float | None:
        if rung > len(run.rungs):
            return None
        target = run.graph.targets[run.rungs[rung - 1]]
        return share_right(target, self._store) if self._store.has(target.key) else None


def _missing(planned: PlannedCell, store: Store) -> set[str]:
    keys = {handle.key for run in planned.runs for handle in run.graph.targets.values()}
    return {key for key in keys if not store.has(key)}
