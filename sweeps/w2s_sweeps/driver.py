"""Run a study: plan its cells, compute the union of their graphs, and report each cell to Optuna as it is complete."""

import datetime
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from w2s_core.engine import Handle, Outcome, Store, locks, ray_cluster, run_graph
from w2s_core.errors import UserError
from w2s_core.plugins import loaded_imports
from w2s_core.preflight import check_graphs
from w2s_core.runs import Machine, record
from w2s_sweeps.batch import Batch, Place
from w2s_sweeps.cells import CellPlanner, CellRun, PlannedCell, bases, no_gc, union, values_of
from w2s_sweeps.definition import define
from w2s_sweeps.journal import journal_of, refuse_lost
from w2s_sweeps.optuna_study import TARGETS, OptunaStudy, Result, Slot
from w2s_sweeps.progress import SweepDisplay
from w2s_sweeps.space import Cell
from w2s_sweeps.storage import IN_MEMORY, default_url, has_study, still_answers
from w2s_sweeps.study_file import LoadedStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class How:
    """What decides how fast a sweep runs and who watches it, and nothing of its results.

    `dry_run` creates no study. `mirror` shows a run of the store, by its name, and its values by objective to trackers.
    `watch` gets each event of the engine.
    """

    machine: Machine = field(default_factory=lambda: Machine(device="cpu"))
    storage: str | None = None
    dry_run: bool = False
    command: tuple[str, ...] = ("w2s", "sweep")
    mirror: Callable[[str, Mapping[str, float]], None] | None = None
    watch: Callable[[dict[str, Any]], None] | None = None


@dataclass
class Swept:
    """What a sweep did: numbers of trials, and the reasons by the titles of the cells that have no result."""

    complete: int = 0
    pruned: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


class Sweep:
    """One process's run of a study. Several may run the same study on one store at the same time.

    Raises:
        UserError: a cell that cannot be planned, a storage that cannot be reached or holds other trials.
    """

    def __init__(self, loaded: LoadedStudy, store: Store, how: How) -> None:
        self._loaded, self._store, self._how = loaded, store, how
        self.study = loaded.study
        self.planner = CellPlanner(loaded, how.machine.device)
        self._planned: dict[str, PlannedCell] = {}
        guard = store.root / "locks" / f"study-{self.study.name}.lock"
        url = how.storage or self.study.storage or default_url(store.root)
        refuse_lost(url, self.study.name, store)
        if how.dry_run and not has_study(url, self.study.name):
            url = IN_MEMORY
        self._url = url
        # Before a study exists that only its own file could go on with.
        for cell in self.planner.space.each_value():
            self.plan(cell)
        definition = define(loaded, self.plan(self.planner.space.example()))
        with still_answers(url):
            self.optuna = OptunaStudy(
                self.study,
                self.planner.space,
                definition,
                url,
                lambda: locks.wait_lock(guard),
                look=how.dry_run,
                journal=None if how.dry_run else journal_of(url, self.study.name, store),
            )
        self.swept = Swept()
        self._mirrored: set[str] = set()

    def run(self) -> Swept:
        """Go on until every cell is complete, given up or failed; then read test for the final ones."""
        machine = self._how.machine
        ray = ray_cluster(machine.address, machine.workers)
        with still_answers(self._url), ray if machine.executor == "ray" else nullcontext():
            return self._run()

    def _run(self) -> Swept:
        self._refuse_other_results()
        self._recompute_lost()
        while not self.swept.interrupted and (slots := self.optuna.next_slots()):
            planned = self.plan_all(slot.cell for slot in slots)
            self._run_batch(Batch(list(zip(slots, planned, strict=True)), self._store))
        if not self.swept.interrupted:
            self._mirror_others(self._read_test())
        states = Counter(trial.state.name for trial in self.optuna.settled().values())
        self.swept.complete, self.swept.pruned = states["COMPLETE"], states["PRUNED"]
        return self.swept

    def run_cell(self, cell: Cell) -> list[float] | None:
        """Run one cell that something else chose, and record it as a trial. Returns its values; None if it has none."""
        with still_answers(self._url):
            self._run_batch(Batch([(Slot(cell), self.plan(cell))], self._store))
        trial = self.optuna.settled().get(cell.digest)
        return list(trial.values) if trial and trial.values else None

    def plan(self, cell: Cell) -> PlannedCell:
        """The cell's graphs, made once."""
        if cell.digest not in self._planned:
            self._planned[cell.digest] = self.planner.plan(cell)
        return self._planned[cell.digest]

    def plan_all(self, cells: Iterable[Cell]) -> list[PlannedCell]:
        """Many cells' graphs."""
        with no_gc():
            return [self.plan(cell) for cell in cells]

    def _refuse_other_results(self) -> None:
        """A trial must be of the very results that its cell stands for now."""
        for trial in self.optuna.settled().values():
            cell = self.optuna.cell_of(trial)
            if not self.planner.space.has(cell):
                continue
            planned = self.plan(cell)
            if trial.user_attrs[TARGETS] != planned.targets_digest:
                raise UserError(
                    f"study '{self.study.name}': trial {trial.number} ({planned.title}) was computed from another "
                    "model or other data than the file names now. Give the study another name"
                )

    def _recompute_lost(self) -> None:
        """Compute again what complete cells of the file have lost: results that were damaged, or removed by hand."""
        cells = [self.optuna.cell_of(trial) for trial in self._complete_trials()]
        batch = Batch([(Slot(cell), self.plan(cell)) for cell in cells], self._store, only_missing=True)
        if batch.places:
            self._run_batch(batch, prune=False)  # they were judged before, and stay complete

    def _run_batch(self, batch: Batch, *, prune: bool = True) -> None:
        """Compute the cells together, rung by rung where they may be pruned, and report how each ended."""
        check_graphs(
            (run.graph for place in batch.places for run in place.planned.runs),
            self._store,
            apart=self._how.machine.apart,
        )
        for place in batch.places:
            self._record(place.planned)
        if self.study.pruner and prune:
            self._prune(batch)
        if not self.swept.interrupted:
            self._report_ended(batch)
            self._compute(batch, lambda run: run.graph.targets, lambda: self._report_ended(batch))
        if not self.swept.interrupted:
            self._report_ended(batch, final=True)

    def _prune(self, batch: Batch) -> None:
        """After each rung, ask the pruner; a cell that it gives up is not computed further.

        No cell is reported before all were asked: a pruner that saw some cells of the batch would decide otherwise
        after a kill, or where the store has their results already.
        """
        for rung in range(1, max((place.rungs for place in batch.open()), default=0) + 1):
            self._compute(batch, partial(_at_rung, rung=rung), list)
            if self.swept.interrupted:
                return
            for place in batch.open():
                batch.note_rung(place, rung)
                if rung in place.intermediate:
                    place.pruned = self.optuna.prunes(place.slot, place.intermediate)

    def _compute(
        self,
        batch: Batch,
        targets_of: Callable[[CellRun], Mapping[str, Handle]],
        report: Callable[[], list[str]],
    ) -> None:
        """Compute some targets of the open cells; try failed steps again as often as the study says."""
        cells = [place.planned for place in batch.open()]
        if not cells:
            return

        def on_done(key: str) -> list[str]:
            batch.computed(key)
            return report()

        targets = union(cells, targets_of)
        display = SweepDisplay(cells, self._headline, on_done, watch=self._how.watch)
        for _ in range(1 + self.study.retries):
            outcome = self._run_graph(targets, cells, display)
            batch.note(outcome)
            if outcome.interrupted or not outcome.failed:
                return

    def _run_graph(
        self, targets: Mapping[str, Handle], cells: Iterable[PlannedCell], display: SweepDisplay
    ) -> Outcome:
        machine = self._how.machine
        outcome = run_graph(
            targets,
            self._store,
            workers=machine.workers,
            runtime={"bases": bases(cells), **machine.runtime},
            display=display,
            executor=machine.executor,
            address=machine.address,
            imports=loaded_imports(),
        )
        self.swept.interrupted = outcome.interrupted
        return outcome

    def _report_ended(self, batch: Batch, *, final: bool = False) -> list[str]:
        """Report to Optuna the cells that have ended, in the order of their slots. Returns a line about each."""
        lines = []
        while place := batch.next_ended(final=final):
            result = self._result(batch, place)
            self.optuna.finish(place.slot, place.planned.targets_digest, result)
            if result.reason:
                self.swept.failed[place.planned.title] = result.reason
            else:
                self._mirror(place.planned, result.attrs)
            lines.append(f"{self._headline()}: {place.planned.title}: {self._describe(result)}")
        return lines

    def _mirror(self, planned: PlannedCell, attrs: Mapping[str, Sequence[float]]) -> None:
        """Show a cell's runs to the trackers, as far as they are known. A run that was shown before is replaced."""
        for run in planned.runs:
            if self._how.mirror:
                self._how.mirror(run.name, self._named(attrs.get(f"seed {run.seed}", ())))
                self._mirrored.add(run.name)

    def _mirror_others(self, read_now: Collection[str]) -> None:
        """At the end, show the cells that an earlier sweep completed, and again those whose test was read now."""
        for trial in self._complete_trials() if self._how.mirror else []:
            planned = self.plan(self.optuna.cell_of(trial))
            if planned.title in read_now or any(run.name not in self._mirrored for run in planned.runs):
                self._mirror(planned, trial.user_attrs)

    def _complete_trials(self) -> "list[FrozenTrial]":
        """The complete trials whose cells the file still has."""
        complete = [trial for trial in self.optuna.settled().values() if trial.state.name == "COMPLETE"]
        return [trial for trial in complete if self.planner.space.has(self.optuna.cell_of(trial))]

    def _result(self, batch: Batch, place: Place) -> Result:
        planned = place.planned
        attrs: dict[str, object] = {"runs": [run.name for run in planned.runs]}
        if place.pruned:
            return Result(None, attrs, place.intermediate, pruned=True)
        if place.missing:
            return Result(None, attrs, place.intermediate, reason=place.reason or "not computed")
        for rung in range(1, place.rungs + 1) if self.study.pruner else ():
            batch.note_rung(place, rung)  # one that was computed at a later try has not been read yet
        path = str(self._loaded.path)
        by_seed = [values_of(self.study.objectives, run, self._store, path) for run in planned.runs]
        attrs |= {f"seed {run.seed}": values for run, values in zip(planned.runs, by_seed, strict=True)}
        means = [sum(values) / len(values) for values in zip(*by_seed, strict=True)]
        return Result(means, attrs, place.intermediate)

    def _describe(self, result: Result) -> str:
        if result.values is None:
            return "given up by the pruner" if result.pruned else f"no result: {result.reason}"
        return ", ".join(f"{metric} {value:.4g}" for metric, value in self._named(result.values).items())

    def _named(self, values: Sequence[float]) -> dict[str, float]:
        """Values by objective; none of a cell that has none."""
        return dict(zip((objective.metric for objective in self.study.objectives), values, strict=False))

    def _headline(self) -> str:
        total = self.planner.space.size or self.study.sampler.trials
        return f"{len(self.optuna.settled())}/{total} trials"

    def _record(self, planned: PlannedCell, test_read: str | None = None) -> None:
        """Write the records of a cell's runs before they are computed: gc keeps what they point at.

        A record that has these targets already, with test or without, stays as it is.
        """
        for run in planned.runs:
            graph = run.with_test if test_read else run.graph
            keys = {label: handle.key for label, handle in graph.targets.items()}
            if keys.items() <= self._recorded(run.name).items():
                continue
            cell = {"study": self.study.name, "cell": dict(planned.cell.shown), "test_read": test_read}
            self._store.refs.write(run.name, {**record(graph, run.name, list(self._how.command)), **cell})

    def _recorded(self, name: str) -> dict[str, str]:
        """The targets in a run's record; none where there is no record."""
        try:
            targets: dict[str, str] = self._store.refs.read(name)["targets"]
        except UserError:
            return {}
        return targets

    def _read_test(self) -> list[str]:
        """Grade the final cells on test; returns the titles of those read now.

        That test is read is recorded first, and no cell is read a second time.
        """
        cells = [self.plan(self.optuna.cell_of(trial)) for trial in self._final_trials()]
        before = {title for read in self.optuna.test_reads() for title in read["cells"]}
        fresh = [cell.title for cell in cells if cell.title not in before]
        if fresh:
            self.optuna.note_test_read(
                datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), fresh
            )
        when = {title: read["when"] for read in self.optuna.test_reads() for title in read["cells"]}
        for cell in cells:
            self._record(cell, test_read=when[cell.title])
        targets = union(cells, lambda run: run.with_test.targets)
        if all(self._store.has(handle.key) for handle in targets.values()):
            return fresh
        display = SweepDisplay(
            cells, lambda: f"test of {len(cells)} final cells", test=True, watch=self._how.watch
        )
        outcome = self._run_graph(targets, cells, display)
        for cell in cells:
            reasons = [outcome.failed.get(h.key) for run in cell.runs for h in run.with_test.targets.values()]
            if reason := next(filter(None, reasons), None):
                self.swept.failed[cell.title] = reason
        return fresh

    def _final_trials(self) -> "Sequence[FrozenTrial]":
        if self.study.test == "none":
            return []
        return self.optuna.best() if self.study.test == "best" else self._complete_trials()


def _at_rung(run: CellRun, rung: int) -> dict[str, Handle]:
    """The target of a rung, of a run that has so many."""
    return {label: run.graph.targets[label] for label in run.rungs[rung - 1 : rung]}
