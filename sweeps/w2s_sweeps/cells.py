"""The graphs of a study's cells: which steps each needs, which of them others share, and what a cell came to."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from w2s_core.engine import Handle, Store
from w2s_core.engine.canonical import digest
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES
from w2s_core.runs import Graph, GraphBuilder
from w2s_sweeps.space import Cell, Shown, Space
from w2s_sweeps.study_file import COSTS, LoadedStudy, Objective

TEST = "/test/"
"""How a target that reads test is known by its label."""


@dataclass(frozen=True)
class CellRun:
    """A cell with one seed: a run of its own. `graph` is all that the search may see: it is judged on dev."""

    name: str
    seed: int
    graph: Graph
    _whole: Callable[[], Graph]

    @cached_property
    def with_test(self) -> Graph:
        """The graph of a final cell, judged on test too."""
        return self._whole()

    @property
    def steps(self) -> set[str]:
        """The keys of all steps that the search needs of this run."""
        return {handle.key for handle in topological(self.graph.targets.values())}

    @cached_property
    def rungs(self) -> tuple[str, ...]:
        """The labels of the targets after which a pruner may give the cell up, in order."""
        experiment = self.graph.experiment
        return tuple(judged(name, "dev") for name in RECIPES.get(experiment.recipe).rungs(experiment))


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its runs, one a seed."""

    cell: Cell
    title: str
    runs: tuple[CellRun, ...]

    @cached_property
    def targets_digest(self) -> str:
        """Changes with every key that the cell's value hangs on: with code, models and data too."""
        return digest([[run.seed, {k: h.key for k, h in run.graph.targets.items()}] for run in self.runs])[
            :16
        ]


class CellPlanner:
    """Plans cells, reading every split and model folder once."""

    def __init__(self, loaded: LoadedStudy, device: str = "auto") -> None:
        self._loaded = loaded
        self.space = Space(loaded.study)
        self._builder = GraphBuilder(device)
        self._models: dict[tuple[str, str], Shown] = {}

    def plan(self, cell: Cell) -> PlannedCell:
        """The cell's graphs.

        Raises:
            UserError: values that do not go together, one model under two names, or an objective or a rung of the
                recipe that no run produces.
        """
        study, path = self._loaded.study, str(self._loaded.path)
        values = self.space.values(cell)
        runs = []
        for seed in study.seeds:
            experiment = self._loaded.experiment(values, seed)
            graph = self._builder.build(experiment, judged_on=("dev",))
            self._refuse_twins(cell, graph)
            for objective in study.objectives:
                target_of(objective, graph, path)
            name = self.space.run_name(study.name, cell, seed)
            run = CellRun(name, seed, graph, partial(self._with_test, cell, seed))
            if study.pruner:
                _check_rungs(run, path)
            runs.append(run)
        return PlannedCell(cell, self.space.title(cell), tuple(runs))

    def _with_test(self, cell: Cell, seed: int) -> Graph:
        # Read again, since few of many cells are final, and each would hold a second experiment till then.
        return self._builder.build(self._loaded.experiment(self.space.values(cell), seed))

    def _refuse_twins(self, cell: Cell, graph: Graph) -> None:
        """Two paths to one model would be two models in tables and counts, with the same results."""
        for field in graph.models.keys() & cell.shown.keys():
            value = cell.shown[field]
            other = self._models.setdefault((field, graph.models[field]), value)
            if other != value:
                raise UserError(
                    f"{self._loaded.line(field)}: field 'space.{field}': {other} and {value} are the same model: "
                    "list it once"
                )


@contextmanager
def no_gc() -> Iterator[None]:
    """Inside, the garbage collector rests, and what was made there it never looks at: graphs live to the end anyway."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def judged(model: str, split: str) -> str:
    """The label of a model's greedy accuracy."""
    return f"greedy/{split}/{model}"


def final_model(experiment: Experiment) -> str:
    """The name of the model that a run ends with. Raises UserError where its recipe cannot say which."""
    return str(RECIPES.get(experiment.recipe).final(experiment))


def target_of(objective: Objective, graph: Graph, path: str) -> str:
    """The label of the target that an objective reads. Raises UserError for one that no run produces."""
    metric = objective.metric
    if metric == "accuracy" or metric in COSTS:
        return _final_target(metric, graph, path)
    if TEST in metric:
        raise UserError(
            f"{path}: objective '{metric}': a sweep is judged by dev only, test is read at its end"
        )
    graded = sorted(target.label for target in graph.outline if target.kind != "data")
    if metric not in graded:
        names = ", ".join(("accuracy", *COSTS, *graded))
        raise UserError(f"{path}: objective '{metric}' is produced by no run; there are {names}")
    return metric


def _final_target(metric: str, graph: Graph, path: str) -> str:
    experiment = graph.experiment
    try:
        return judged(final_model(experiment), "dev")
    except UserError as error:
        raise UserError(f"{path}: objective '{metric}' is of a cell's final model, but {error}") from None


def _check_rungs(run: CellRun, path: str) -> None:
    """Raise UserError where a pruner would have nothing to look at."""
    if not run.rungs:
        raise UserError(
            f"{path}: pruner: recipe '{run.graph.experiment.recipe}' has no models after which a cell could be given "
            "up: leave the pruner out"
        )


def values_of(objectives: Iterable[Objective], run: CellRun, store: Store, path: str) -> list[float]:
    """A finished run's value for each objective: the share of right answers, or a number of tokens."""
    values = []
    for objective in objectives:
        target = run.graph.targets[target_of(objective, run.graph, path)]
        values.append(
            _cost(objective.metric, target, store)
            if objective.metric in COSTS
            else share_right(target, store)
        )
    return values


def share_right(target: Handle, store: Store) -> float:
    """The share of right answers among those that a `grade` step graded."""
    summary = store.manifest(target.key)["summary"]
    return summary.get("right", 0) / summary["graded"] if summary["graded"] else 0.0


def _cost(metric: str, target: Handle, store: Store) -> float:
    """Tokens behind the final model: trained on, drawn (its own evaluation left out), or both."""
    responses: Handle = target.inputs["responses"]
    behind = topological([responses])[:-1]  # the last is the evaluation itself
    spent = {"training_tokens": 0, "sampling_tokens": 0}
    for key in {handle.key for handle in behind}:
        summary = store.manifest(key)["summary"]
        if "tokens" in summary:
            spent[_kind_of_cost(summary)] += summary["tokens"]
    return float(spent.get(metric, sum(spent.values())))


def _kind_of_cost(summary: Mapping[str, Any]) -> str:
    """A step that counts tokens drew responses or trained on rows; a recipe's own steps say so as the built-in do."""
    return "sampling_tokens" if "responses" in summary else "training_tokens"


def union(
    cells: Iterable[PlannedCell], targets_of: Callable[[CellRun], Mapping[str, Handle]]
) -> dict[str, Handle]:
    """The chosen targets of many cells, by run and label."""
    return {
        f"{run.name}: {label}": handle
        for cell in cells
        for run in cell.runs
        for label, handle in targets_of(run).items()
    }


def bases(cells: Iterable[PlannedCell]) -> dict[str, str]:
    """Where the base models of all cells are loaded from, by their names in keys."""
    return {ref: source for cell in cells for run in cell.runs for ref, source in run.graph.bases.items()}
