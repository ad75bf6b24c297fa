"""The cells that are computed together, and how far each of them is."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sweeps.cells import PlannedCell, share_right
from sweeps.optuna_study import Slot
from w2s_core.engine import Outcome, Store


@dataclass
class Place:
    """A slot's cell in a batch. `missing`: keys of targets without a result."""

    slot: Slot
    planned: PlannedCell
    missing: set[str]
    intermediate: dict[int, float] = field(default_factory=dict)
    pruned: bool = False
    reason: str | None = None
    told: bool = False

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to compute."""
        return self.pruned or not self.missing


class Batch:
    """Cells in the order of their slots. They are told in this order, so that it is the same in every run."""

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
        """Those that were neither told nor given up."""
        return [place for place in self.places if not place.told and not place.pruned]

    def computed(self, key: str) -> None:
        """A result exists now."""
        for place in self._users.get(key, []):
            place.missing.discard(key)

    def next_ended(self, *, final: bool) -> Place | None:
        """The next cell to tell: the first untold one, if it has ended. At the end, `final`, whatever its state."""
        for place in self.places:
            if not place.told:
                place.told = place.ended or final
                return place if place.told else None
        return None

    def note(self, outcome: Outcome) -> None:
        """Remember why cells are without a result after an attempt."""
        ended = {**outcome.stopped, **outcome.failed}
        for place in self.open():
            reasons = [ended[key] for key in sorted(place.missing & ended.keys())]
            place.reason = min(reasons, key=len, default=None)

    def note_iteration(self, iteration: int, label: str) -> None:
        """Read the accuracy of an iteration's model, the mean over seeds, where the cell has that iteration."""
        for place in self.open():
            targets = [run.graph.targets.get(label) for run in place.planned.runs]
            if all(target and self._store.has(target.key) for target in targets):
                shares = [share_right(target, self._store) for target in targets if target]
                place.intermediate[iteration] = sum(shares) / len(shares)


def _missing(planned: PlannedCell, store: Store) -> set[str]:
    keys = {handle.key for run in planned.runs for handle in run.graph.targets.values()}
    return {key for key in keys if not store.has(key)}
