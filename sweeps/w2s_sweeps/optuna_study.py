"""The Optuna side of a study: which trials it has, which come next, and how a finished one is recorded.

Whether a trial is being computed is never read from Optuna. A grid's trials are added when they are complete. The
other samplers need a trial to be RUNNING while it is computed; such a trial means "to be computed", and whoever runs
the study, one process or several, computes all of them: the store's locks see to it that each step is computed once.
So a killed driver leaves nothing that anyone must wait for. The few moments of asking and telling are under one lock.

What a pruner compares a cell with is fixed when its batch begins: the trials that were complete then. Otherwise the
decision would depend on which cells of the batch ended before a kill, or were in the store already.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from w2s_core.errors import UserError
from w2s_sweeps.definition import Definition, check
from w2s_sweeps.journal import Journal
from w2s_sweeps.samplers import make_pruner, make_sampler
from w2s_sweeps.space import Cell, Space
from w2s_sweeps.storage import finish_copy, open_storage, recreate
from w2s_sweeps.study_file import Study

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DEFINITION, TEST_READS, CELL, TARGETS = "definition", "test_reads", "cell", "targets"
BATCHES = "batches"
"""Of a grid with a pruner: the cells of each batch, and how many trials there were when it began."""
UNASKED = "unasked"
"""Marks a trial that the sampler did not choose: one that failed and was computed anew, or one from outside."""


@dataclass
class Result:
    """How a cell ended. `intermediate`: dev accuracy by rung of the recipe. `reason` where it has no values."""

    values: list[float] | None
    attrs: dict[str, Any]
    intermediate: dict[int, float] = field(default_factory=dict)
    pruned: bool = False
    reason: str | None = None
    started: datetime | None = None


@dataclass(frozen=True)
class Slot:
    """A cell whose turn it is.

    Attributes:
        trial: its number in Optuna where it has one already.
        before: a pruner compares the cell with the complete trials of lower numbers; None: with all.
    """

    cell: Cell
    trial: int | None = None
    before: int | None = None


class OptunaStudy:
    """A study in its storage, opened or created. Only to be looked at (`look`), it is not made ready for new choices.

    Raises:
        UserError: the storage cannot be reached, or holds a study of that name whose trials are not comparable.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        definition: Definition,
        url: str,
        guard: Callable[[], AbstractContextManager[Any]],
        *,
        look: bool = False,
        journal: Journal | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._file, self._space, self._guard, self._journal = study, space, guard, journal
        self._storage = open_storage(url)
        self._axes = space.distributions()
        self._failed: set[str] = set()  # cells that this process gave up; the next process tries them again
        with self._noted():
            self.study = self._open(definition)
            if not look:
                self.study = self._widen(self.study)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Alone with the study; what changes in it is noted in the journal."""
        with self._guard():
            yield
            if self._journal:
                self._journal.note(self.study)

    def _open(self, definition: Definition) -> "optuna.Study":
        import optuna

        name = self._file.name
        finish_copy(self._storage, name)
        study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            directions=[objective.direction for objective in self._file.objectives],
            load_if_exists=True,
            pruner=make_pruner(self._file),
        )
        before = study.user_attrs.get(DEFINITION)
        if before is None:
            if study.get_trials(deepcopy=False):
                raise UserError(
                    f"the storage has a study '{name}' that no sweep made: give this one another name"
                )
            study.set_user_attr(DEFINITION, definition)
            study.set_metric_names([objective.metric for objective in self._file.objectives])
            return study
        check(name, before, definition)
        return study

    def _widen(self, study: "optuna.Study") -> "optuna.Study":
        """Copy the study where the file has new choices of a categorical axis, since Optuna fixes those of a study."""
        import optuna
        from optuna.distributions import CategoricalDistribution

        trials = study.get_trials(deepcopy=False)
        known = {
            name: axis.choices
            for trial in trials
            for name, axis in trial.distributions.items()
            if isinstance(axis, CategoricalDistribution)
        }
        wider = {
            name: CategoricalDistribution([*known[name], *(c for c in axis.choices if c not in known[name])])
            for name, axis in self._axes.items()
            if isinstance(axis, CategoricalDistribution) and name in known
        }
        self._axes |= wider
        if all(wider[name].choices == known[name] for name in wider):
            return study
        copied = copy.deepcopy(trials)
        for trial in copied:
            trial.distributions = {name: self._axes[name] for name in trial.distributions}
        recreate(self._storage, study, copied)
        study = optuna.load_study(
            storage=self._storage, study_name=study.study_name, pruner=make_pruner(self._file)
        )
        if self._journal:
            self._journal.note(study, anew=True)
        return study

    def trials(self) -> "list[FrozenTrial]":
        """All trials, in order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def settled(self) -> "dict[str, FrozenTrial]":
        """Complete and pruned trials by the digest of their cell."""
        from optuna.trial import TrialState

        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        return {trial.user_attrs.get(CELL, ""): trial for trial in self.trials() if trial.state in ended}

    def next_slots(self) -> list[Slot]:
        """The cells to compute now: a grid's all at once (or a batch, where cells are pruned), else a sampler's batch.

        Empty when the study is done.
        """
        with self._noted():
            return self._grid_slots() if self._file.sampler.name == "grid" else self._sampled_slots()

    def _grid_slots(self) -> list[Slot]:
        done = self.settled().keys() | self._failed
        left = [cell for cell in self._space.cells() if cell.digest not in done]
        return self._pruned_batch(left) if self._file.pruner else [Slot(cell) for cell in left]

    def _pruned_batch(self, left: Sequence[Cell]) -> list[Slot]:
        """The cells of the last batch that are left, or else of a new one, which is recorded before it is computed."""
        batches = list(self.study.user_attrs.get(BATCHES, []))
        slots = _of_batch(left, batches[-1]) if batches else []
        if not slots and left:
            digests = [cell.digest for cell in left[: self._file.sampler.batch]]
            batches.append({"cells": digests, "before": len(self.trials())})
            self.study.set_user_attr(BATCHES, batches)
            slots = _of_batch(left, batches[-1])
        return slots

    def _sampled_slots(self) -> list[Slot]:
        """The open trials of the current batch, asked for where they are not there yet, and those that failed before.

        What is asked hangs on the trials before it and on (sampler.seed, number) alone, so that an interrupted study
        goes on as a straight one would.
        """
        from optuna.trial import TrialState

        chosen = self._chosen()
        waiting = [trial for trial in chosen if trial.state == TrialState.RUNNING]
        total, batch = self._file.sampler.trials or 0, self._file.sampler.batch
        begun = -(-len(chosen) // batch) * batch
        end = min(total, begun if waiting else begun + batch)
        for number in range(len(chosen), end):
            self.study.sampler = make_sampler(self._file.sampler, number)
            asked = self.study.ask(fixed_distributions=self._axes)
            chosen.append(self.trials()[asked.number])
            waiting.append(chosen[-1])
        firsts = [trial.number for trial in chosen[::batch]]
        slots = [Slot(self.cell_of(trial), trial.number, _begin(firsts, trial.number)) for trial in waiting]
        return slots + self._failed_before()

    def _chosen(self) -> "list[FrozenTrial]":
        """The trials that the sampler chose. Those that a killed driver was asking for are closed: they miss fields."""
        from optuna.trial import TrialState

        whole = []
        for trial in self.trials():
            if trial.params.keys() == self._axes.keys():
                whole += [trial] * (UNASKED not in trial.user_attrs)
            elif trial.state == TrialState.RUNNING:
                self.study.tell(trial.number, state=TrialState.FAIL)
        return whole

    def _failed_before(self) -> list[Slot]:
        from optuna.trial import TrialState

        done = self.settled().keys() | self._failed
        failed = [t for t in self.trials() if t.state == TrialState.FAIL and CELL in t.user_attrs]
        cells = {cell.digest: cell for cell in map(self.cell_of, failed)}
        return [Slot(cell) for digest, cell in cells.items() if digest not in done]

    def cell_of(self, trial: "FrozenTrial") -> Cell:
        """The cell that a trial is of."""
        return Cell({d.field: d.stands_for(trial.params[d.field]) for d in self._space.dimensions})

    def finish(self, slot: Slot, targets: str, result: Result) -> None:
        """Record a cell's end, unless another process did so first."""
        attrs = {CELL: slot.cell.digest, TARGETS: targets, **result.attrs}
        if result.reason:
            attrs["reason"] = result.reason
            self._failed.add(slot.cell.digest)
        with self._noted():
            if slot.trial is None:
                if slot.cell.digest not in self.settled():
                    self._add(slot.cell, attrs, result)
            else:
                self._tell(slot.trial, attrs, result)

    def _add(self, cell: Cell, attrs: dict[str, Any], result: Result) -> None:
        from optuna.trial import create_trial

        if self._file.sampler.name != "grid":
            attrs = {**attrs, UNASKED: True}
        trial = create_trial(
            state=_state(result),
            values=result.values if _is_complete(result) else None,
            params=dict(cell.shown),
            distributions=self._axes,
            user_attrs=attrs,
            intermediate_values=result.intermediate,
        )
        trial.datetime_start = result.started or trial.datetime_start
        self.study.add_trial(trial)

    def _tell(self, number: int, attrs: dict[str, Any], result: Result) -> None:
        from optuna.trial import TrialState

        if self.trials()[number].state != TrialState.RUNNING:
            return
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._storage.get_study_id_from_name(self._file.name), number
        )
        for name, value in attrs.items():
            self._storage.set_trial_user_attr(trial_id, name, value)
        for rung, value in result.intermediate.items():
            self._storage.set_trial_intermediate_value(trial_id, rung, value)
        self.study.tell(number, result.values if _is_complete(result) else None, _state(result))

    def prunes(self, slot: Slot, intermediate: Mapping[int, float]) -> bool:
        """Whether the pruner gives a cell up, after these accuracies by rung."""
        import optuna
        from optuna.trial import TrialState, create_trial

        if self._file.pruner is None:
            return False
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        # A pruner reads all complete trials of its study: it is given one that holds those it may see.
        visible = optuna.create_study(direction=self._file.objectives[0].direction)
        visible.add_trials([t for t in complete if slot.before is None or t.number < slot.before])
        trial = create_trial(
            state=TrialState.RUNNING,
            params={field: slot.cell.shown[field] for field in self._axes},
            distributions=self._axes,
            intermediate_values=dict(intermediate),
        )
        return bool(self.study.pruner.prune(visible, trial))  # numpy's in some pruners

    def best(self) -> "list[FrozenTrial]":
        """The best trial, or those that no other beats in all objectives. Of equals, the first."""
        from optuna.trial import TrialState

        if not any(trial.state == TrialState.COMPLETE for trial in self.trials()):
            return []
        return [self.study.best_trial] if len(self._file.objectives) == 1 else self.study.best_trials

    def test_reads(self) -> list[dict[str, Any]]:
        """When test was read, and for which cells."""
        return list(self.study.user_attrs.get(TEST_READS, []))

    def note_test_read(self, when: str, cells: Sequence[str]) -> None:
        """Record that test is read for these cells, before it is."""
        with self._noted():
            self.study.set_user_attr(TEST_READS, [*self.test_reads(), {"when": when, "cells": list(cells)}])


def _is_complete(result: Result) -> bool:
    return result.values is not None and not result.pruned


def _state(result: Result) -> Any:
    from optuna.trial import TrialState

    if result.pruned:
        return TrialState.PRUNED
    return TrialState.COMPLETE if _is_complete(result) else TrialState.FAIL


def _of_batch(left: Sequence[Cell], batch: Mapping[str, Any]) -> list[Slot]:
    return [Slot(cell, before=batch["before"]) for cell in left if cell.digest in batch["cells"]]


def _begin(firsts: Sequence[int], number: int) -> int:
    """The first trial of the batch that a trial is in; `firsts` are those of all batches."""
    return max(first for first in firsts if first <= number)
