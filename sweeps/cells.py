"""The graphs of a study's cells: which steps each needs, which of them others share, and what a cell came to."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

from sweeps.space import Cell, Space
from sweeps.study_file import COSTS, LoadedStudy, Objective
from w2s_core.engine import Handle, Store
from w2s_core.engine.canonical import digest
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.runs import Graph, GraphBuilder

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
        return {one.key for one in topological(self.graph.targets.values())}


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

    def plan(self, cell: Cell) -> PlannedCell:
        """The cell's graphs. Raises UserError where its values do not go together, or for an unknown objective."""
        study = self._loaded.study
        values = self.space.values(cell)
        runs = []
        for seed in study.seeds:
            experiment = self._loaded.experiment(values, seed)
            graph = self._builder.build(experiment, judged_on=("dev",))
            for objective in study.objectives:
                target_of(objective, graph, str(self._loaded.path))
            name = self.space.run_name(study.name, cell, seed)
            runs.append(CellRun(name, seed, graph, partial(self._builder.build, experiment)))
        return PlannedCell(cell, self.space.title(cell), tuple(runs))


@contextmanager
def no_gc() -> Iterator[None]:
    """Inside, the garbage collector rests, and what was made there it never looks at: graphs live to the end anyway."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def final_model(experiment: Experiment) -> str:
    """The label of what a run ends with: its one Stage II method, or M_plus where there is none."""
    methods = experiment.stage2.methods
    return methods[0] if methods else f"hybrid_ft_{experiment.stage1.iterations}"


def target_of(objective: Objective, graph: Graph, where: str) -> str:
    """The label of the target that an objective reads. Raises UserError for one that no run produces."""
    metric, experiment = objective.metric, graph.experiment
    if metric == "accuracy" or metric in COSTS:
        if len(experiment.stage2.methods) > 1:
            raise UserError(
                f"{where}: objective '{metric}' is of a cell's final model, but stage2.methods has several: vary "
                "stage2.methods, fix it to one, or name the target, for example greedy/dev/dpo"
            )
        return f"greedy/dev/{final_model(experiment)}"
    if TEST in metric:
        raise UserError(
            f"{where}: objective '{metric}': a sweep is judged by dev only, test is read at its end"
        )
    graded = sorted(name for name in graph.targets if name != "pairs")
    if metric not in graded:
        known = ", ".join(("accuracy", *COSTS, *graded))
        raise UserError(f"{where}: objective '{metric}' is produced by no run; there are {known}")
    return metric


def values_of(objectives: Iterable[Objective], run: CellRun, store: Store, where: str) -> list[float]:
    """A finished run's value for each objective: the share of right answers, or a number of tokens."""
    values = []
    for objective in objectives:
        target = run.graph.targets[target_of(objective, run.graph, where)]
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
    model = topological([next(one for one in target.parents() if one.name == "sample")])[:-1]
    spent = {"training_tokens": 0, "sampling_tokens": 0}
    for handle in {one.key: one for one in model}.values():
        kind = {"sft": "training_tokens", "prefer": "training_tokens", "sample": "sampling_tokens"}.get(
            handle.name
        )
        if kind:
            spent[kind] += store.manifest(handle.key)["summary"]["tokens"]
    return float(spent.get(metric, sum(spent.values())))


def union(
    cells: Iterable[PlannedCell], wanted: Callable[[CellRun], Mapping[str, Handle]]
) -> dict[str, Handle]:
    """The wanted targets of many cells, by run and label."""
    return {
        f"{run.name}: {label}": handle
        for cell in cells
        for run in cell.runs
        for label, handle in wanted(run).items()
    }


def bases(cells: Iterable[PlannedCell]) -> dict[str, str]:
    """Where the base models of all cells are loaded from, by their names in keys."""
    return {ref: source for cell in cells for run in cell.runs for ref, source in run.graph.bases.items()}
