"""A sweep's progress: the display of its steps, with the cells that share them and the count of trials."""

from collections.abc import Callable, Sequence
from typing import Any

from w2s_core.engine import Outcome, make_display
from w2s_core.engine.planning import Planned
from w2s_core.step_labels import label_steps
from w2s_sweeps.cells import PlannedCell


class SweepDisplay:
    """Shows steps as a run does, reports each result to the sweep as it comes, and shows the lines that it returns.

    Args:
        cells: whose steps are computed.
        headline: gives `5/24 trials`, shown before the counts of steps.
        on_done: gets the key of each result, and returns lines to show.
        test: whether targets that read test are among the steps.
        watch: gets each event of the engine, and the notes that are shown between them.
    """

    def __init__(
        self,
        cells: Sequence[PlannedCell],
        headline: Callable[[], str],
        on_done: Callable[[str], Sequence[str]] = lambda key: (),
        *,
        test: bool = False,
        watch: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._headline, self._on_done = headline, on_done
        self._inner = make_display(labels=shared_labels(cells, test=test), watch=watch)
        self._sharing = None if test else sharing(cells)

    def begin(self, planned: list[Planned], workers: int) -> None:
        """The steps begin."""
        self._inner.begin(planned, workers)
        self._show_line(self._sharing)

    def event(self, event: dict[str, Any]) -> None:
        """Show an event; a new result may complete a trial."""
        self._inner.event(event)
        if event["event"] in ("finished", "found"):
            for line in self._on_done(event["key"]):
                self._show_line(line)

    def end(self, outcome: Outcome) -> None:
        """The steps end."""
        self._inner.end(outcome)

    def _show_line(self, line: str | None) -> None:
        self._inner.event({"event": "note", "message": line, "headline": self._headline()})


def sharing(cells: Sequence[PlannedCell]) -> str:
    """`24 trials share 324 steps; alone they would take 1128`."""
    steps = [run.steps for cell in cells for run in cell.runs]
    alone, distinct = sum(map(len, steps)), len(set().union(*steps))
    return f"{len(cells)} trials share {distinct} steps; alone they would take {alone}"


def shared_labels(cells: Sequence[PlannedCell], *, test: bool) -> dict[str, str]:
    """Labels by key: a step with the one cell that needs it, or with how many do: `sft:tuned (8 trials)`."""
    labels: dict[str, str] = {}
    users: dict[str, list[str]] = {}
    for cell in cells:
        for run in cell.runs:
            for key, label in label_steps((run.with_test if test else run.graph).targets).items():
                labels.setdefault(key, label)
                users.setdefault(key, []).append(cell.title)
    return {
        key: f"{label} ({names[0] if len(set(names)) == 1 else f'{len(set(names))} trials'})"
        for key, names in users.items()
        for label in [labels[key]]
    }
