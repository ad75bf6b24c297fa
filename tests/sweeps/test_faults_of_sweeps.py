"""A sweep killed or refused at a touch of a file of its store: the same command goes on, to the same trials."""

import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.engine.harness import STRIKES, Fault, in_child, results
from tests.sweeps.conftest import Writer
from w2s_core import steps
from w2s_core.engine import Context, Store
from w2s_core.engine.step import StepDefinition
from w2s_core.errors import UserError
from w2s_sweeps import driver
from w2s_sweeps.cells import CellPlanner
from w2s_sweeps.driver import How, Sweep
from w2s_sweeps.storage import default_url, open_storage
from w2s_sweeps.study_file import LoadedStudy, load_study

PARTS = 10  # of a loop that would take too long for one test
EVERY = {"kill": 6, "EIO": 12, "ENOSPC": 12, "EACCES": 12}
TOUCHES = 300


@pytest.fixture
def loaded(write_plain_study: Writer) -> LoadedStudy:
    """A study of two cells, one after the other; what its sweeps import and read is here, for children to share."""
    sampler = {"name": "tpe", "trials": 2, "batch": 1}
    study = load_study(write_plain_study(space={"rounds": [1, 2]}, sampler=sampler))
    planner = CellPlanner(study)
    planner.plan(planner.space.example())
    for definition in step_definitions():
        definition.confirm_code()
    return study


def step_definitions() -> list[StepDefinition]:
    return [each for each in vars(steps).values() if isinstance(each, StepDefinition)]


def load_no_model() -> None:
    """From now on in this process, steps write a line instead of computing, under the same keys: `loaded` has read
    what those are made from.
    """
    driver.check_graphs = lambda *_, **__: None
    for definition in step_definitions():
        definition.function = writes_a_line


def writes_a_line(ctx: Context, **arguments: Any) -> dict[str, Any]:
    (ctx.out / "line.txt").write_text(ctx.key)
    return {"right": int(ctx.key[0], 16), "graded": 16, "questions": 16}


def sweep(loaded: LoadedStudy, root: Path) -> None:
    """As the command does; that it stops with a line, or with what the command makes a line of, is no fault."""
    load_no_model()
    with suppress(UserError, OSError):
        Sweep(loaded, Store(root), How()).run()


def faulty(loaded: LoadedStudy, root: Path, marker: Path, strike: str, n: int) -> None:
    Fault(root, n, partial(STRIKES[strike], marker)).arm()
    sweep(loaded, root)


def trials(root: Path) -> list[tuple[Any, ...]]:
    study = optuna.load_study(study_name="plain-study", storage=open_storage(default_url(root)))
    return [(trial.number, trial.state.name, trial.params, trial.values) for trial in study.trials]


def assert_survives(loaded: LoadedStudy, folder: Path, strike: str, n: int) -> bool:
    """Returns whether there was such a touch."""
    root, marker, undisturbed = (
        folder / f"{strike}-{n}",
        folder / f"{strike}-{n}.struck",
        folder / "undisturbed",
    )
    if not undisturbed.exists():
        assert in_child(partial(sweep, loaded, undisturbed)) == 0
    Store(root)
    code = in_child(partial(faulty, loaded, root, marker, strike, n))
    assert code == 0 or strike == "kill", (strike, n)
    assert list(Store(root).verify()) == [], (strike, n)
    before = results(root)
    assert in_child(partial(sweep, loaded, root)) == 0, (strike, n)
    after = results(root)
    assert before.items() <= after.items(), "no finished step is computed again"
    assert {key: files for key, (files, _) in after.items()} == {
        key: files for key, (files, _) in results(undisturbed).items()
    }, (strike, n)
    assert [t for t in trials(root) if t[1] != "FAIL"] == trials(undisturbed), (strike, n)
    shutil.rmtree(root)
    return marker.exists()


@pytest.mark.parametrize(("strike", "n"), [("kill", 40), pytest.param("EIO", 120, marks=pytest.mark.slow)])
def test_a_fault_at_some_touches_of_a_file(loaded: LoadedStudy, tmp_path: Path, strike: str, n: int) -> None:
    assert assert_survives(loaded, tmp_path, strike, n)


@pytest.mark.slow
@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("first", range(1, PARTS + 1))
def test_a_fault_at_every_few_touches_of_a_file(
    loaded: LoadedStudy, tmp_path: Path, strike: str, first: int
) -> None:
    n = first
    while assert_survives(loaded, tmp_path, strike, n):
        n += PARTS * EVERY[strike]
    assert n > TOUCHES, "there should have been more touches"
