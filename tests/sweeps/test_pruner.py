"""Pruners: what is given up hangs on the study alone, not on kills, nor on what the store has already.

Nothing is computed here: results come from a table, for the steps of the real graphs.
"""

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps.conftest import Writer
from w2s_core.engine import Handle, Outcome, Store
from w2s_core.engine.canonical import digest
from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES
from w2s_sweeps import driver, progress
from w2s_sweeps.driver import How, Sweep
from w2s_sweeps.space import Cell
from w2s_sweeps.study_file import load_study

RATES = [round(0.001 * number, 3) for number in range(1, 13)]
GRID = {"space": {"sft.learning_rate": RATES}, "sampler": {"name": "grid", "batch": 4}}
TPE = {
    "space": {"sft.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    "sampler": {"name": "tpe", "trials": 12, "batch": 4},
}


class Killed(BaseException):
    """The driver dies: nothing catches this."""


RIGHT: dict[str, int] = {}
"""Right answers of 1,000 by key, see `number_of_right`."""


def number_of_right(handle: Handle) -> int:
    """A number that hangs on what a step is asked for, and not on the code, which every edit changes."""

    def unfold(part: Handle) -> Any:
        inputs = [(name, unfold(value)) for name, value in sorted(part.inputs.items())]
        return part.name, sorted(part.params.items()), inputs

    return int(digest(json.loads(json.dumps(unfold(handle))))[:8], 16) % 1000


class TableStore(Store):
    """A store whose results stand in a table; `results` holds those that were computed."""

    def __init__(self, root: Path, results: set[str] | None = None) -> None:
        super().__init__(root)
        self.results = set() if results is None else set(results)

    def has(self, key: str) -> bool:
        return key in self.results

    def manifest(self, key: str) -> dict[str, Any]:
        return {"summary": {"right": RIGHT[key], "graded": 1000, "questions": 1000}}


class Silent:
    """A display that shows nothing."""

    def event(self, event: Mapping[str, Any]) -> None:
        pass


class Computer:
    """Stands in for `run_graph`: each target that is missing becomes known, one after the other, until a kill."""

    def __init__(self) -> None:
        self.left: float = float("inf")
        self.computed = 0
        self.unlucky = ""

    def __call__(self, targets: Mapping[str, Any], store: TableStore, *, display: Any, **_: Any) -> Outcome:
        outcome = Outcome()
        for label, handle in targets.items():
            RIGHT[handle.key] = number_of_right(handle)
            if self.unlucky and label.endswith(self.unlucky):
                outcome.failed[handle.key] = "no luck"
                self.unlucky = ""
            elif handle.key not in store.results:
                if self.left <= 0:
                    raise Killed
                self.left -= 1
                self.computed += 1
                store.results.add(handle.key)
                display.event({"event": "finished", "key": handle.key})
        return outcome


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    stand_in = Computer()
    monkeypatch.setattr(driver, "run_graph", stand_in)
    monkeypatch.setattr(driver, "check_graphs", lambda *graphs, **options: None)
    monkeypatch.setattr(progress, "make_display", lambda **options: Silent())
    return stand_in


@pytest.fixture(params=[GRID, TPE], ids=["grid", "tpe"])
def study(request: pytest.FixtureRequest, write_plain_study: Writer) -> Path:
    return write_plain_study(
        experiment={"rounds": 3},
        pruner={"name": "median", "startup_trials": 2},
        test="none",
        **request.param,
    )


def history(sweep: Sweep) -> list[tuple[Any, ...]]:
    """What the study knows of its trials; the numbers in Optuna may differ after a kill."""
    trials = sorted(sweep.optuna.settled().values(), key=lambda trial: trial.number)
    return [(dict(t.params), t.state.name, t.values, t.intermediate_values) for t in trials]


def run(study: Path, store: TableStore) -> list[tuple[Any, ...]]:
    sweep = Sweep(load_study(study), store, How())
    sweep.run()
    return history(sweep)


@pytest.fixture
def straight(study: Path, tmp_path: Path, computer: Computer) -> tuple[list[tuple[Any, ...]], TableStore]:
    """The history of a study that nothing disturbs, and its store."""
    store = TableStore(tmp_path / "straight")
    trials = run(study, store)
    states = [state for _, state, _, _ in trials]
    assert len(trials) == 12
    assert 2 < states.count("PRUNED") < 10, "a study where nothing or all is given up would show nothing"
    assert all(len(rungs) == 3 for _, state, _, rungs in trials if state == "COMPLETE")
    return trials, store


def test_results_that_another_command_computes_meanwhile_count_as_ones_own(
    study: Path,
    tmp_path: Path,
    computer: Computer,
    straight: tuple[list[tuple[Any, ...]], TableStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def elsewhere(targets: Mapping[str, Any], store: TableStore, *, display: Any, **options: Any) -> Outcome:
        return computer(targets, store, display=Silent(), **options)

    monkeypatch.setattr(driver, "run_graph", elsewhere)
    assert run(study, TableStore(tmp_path / "shared")) == straight[0]


def test_a_killed_study_prunes_what_a_straight_one_does(
    study: Path, tmp_path: Path, computer: Computer, straight: tuple[list[tuple[Any, ...]], TableStore]
) -> None:
    kills = random.Random(3)
    store = TableStore(tmp_path / "killed")
    for _ in range(100):
        computer.left = kills.randint(1, 12)
        try:
            assert run(study, store) == straight[0]
            break
        except Killed:
            store = TableStore(tmp_path / "killed", store.results)  # a new process: what is computed is there
    else:
        pytest.fail("the study never came to an end")


@pytest.mark.slow
def test_a_warm_store_prunes_what_a_cold_one_does(
    study: Path,
    tmp_path: Path,
    computer: Computer,
    straight: tuple[list[tuple[Any, ...]], TableStore],
) -> None:
    """The cells that the straight study gave up are computed to their end too in the warm store."""
    trials, _ = straight
    cells = Sweep(load_study(study), TableStore(tmp_path / "plan"), How(dry_run=True))
    runs = [run for params, *_ in trials for run in cells.plan(Cell(params)).runs]
    every = {handle.key for run in runs for handle in run.graph.targets.values()}
    half = random.Random(5).sample(sorted(every), len(every) // 2)
    assert run(study, TableStore(tmp_path / "half-warm", set(half))) == trials
    before = computer.computed
    assert run(study, TableStore(tmp_path / "warm", every)) == trials
    assert computer.computed == before, "nothing was left to compute"


def test_a_rung_that_was_computed_at_a_later_try_counts(
    write_plain_study: Writer, tmp_path: Path, computer: Computer
) -> None:
    path = write_plain_study(pruner={"name": "median"}, space={"rounds": [3]}, retries=0, test="none")
    computer.unlucky = "tuned_2"
    ((_, state, _, rungs),) = run(path, TableStore(tmp_path / "store"))
    assert (state, sorted(rungs)) == ("COMPLETE", [1, 2, 3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objectives": [{"metric": "tokens", "direction": "minimize"}]},
            r":\d+: field 'pruner': goes by accuracy: it needs an accuracy to maximize",
        ),
        ({"objectives": [{"metric": "accuracy"}, {"metric": "tokens"}]}, r"needs a single objective"),
    ],
)
def test_a_pruner_whose_objective_is_no_accuracy_is_refused(
    write_plain_study: Writer, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_study(write_plain_study(pruner={"name": "median"}, **changes))


def test_a_pruner_without_rungs_is_refused_before_a_study_exists(
    write_plain_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = dataclasses.replace(RECIPES.get("plain"), rungs=lambda experiment: ())
    monkeypatch.setattr(RECIPES, "get", lambda name: without)
    path = write_plain_study(
        space={"max_new_tokens": [24, 48]},
        objectives=[{"metric": "greedy/dev/base"}],
        pruner={"name": "median"},
    )
    with pytest.raises(UserError, match=r"pruner: recipe 'plain' has no models after which a cell could be"):
        Sweep(load_study(path), TableStore(tmp_path / "store"), How())
    assert not (tmp_path / "store" / "studies.db").exists()
