"""Optuna beside a sweep: what is asked hangs on results alone, not on kills, order, or the number of drivers."""

import contextlib
import json
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.sweeps.conftest import Writer
from w2s_core.errors import UserError
from w2s_sweeps import storage
from w2s_sweeps.cells import CellPlanner
from w2s_sweeps.definition import define
from w2s_sweeps.optuna_study import OptunaStudy, Result, Slot
from w2s_sweeps.storage import finish_copy, open_storage
from w2s_sweeps.study_file import load_study

Open = Callable[[], OptunaStudy]
RANGES = {
    "stage2.keep": {"low": 0.1, "high": 0.9},
    "sft.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}


def opener(path: Path, database: Path) -> Open:
    def open_study() -> OptunaStudy:
        loaded = load_study(path)
        planner = CellPlanner(loaded)
        definition = define(loaded, planner.plan(planner.space.example()))
        url = f"sqlite:///{database}"
        return OptunaStudy(loaded.study, planner.space, definition, url, contextlib.nullcontext)

    return open_study


def value(slot: Slot) -> float:
    """A cell's result: some function of the cell alone."""
    return random.Random(slot.cell.digest).random()


def finish(study: OptunaStudy, slot: Slot) -> None:
    study.finish(slot, "t", Result([value(slot)], {}))


def history(study: OptunaStudy) -> list[tuple[Any, ...]]:
    chosen = [trial for trial in study.trials() if trial.state.name == "COMPLETE"]
    return [(sorted(trial.params.items()), trial.values) for trial in chosen]


def run_through(study: OptunaStudy) -> None:
    while slots := study.next_slots():
        for slot in slots:
            finish(study, slot)


@pytest.mark.parametrize(
    "sampler", ["tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nsga2", "qmc"))]
)
def test_an_interrupted_study_chooses_what_a_straight_one_does(
    write_study: Writer, tmp_path: Path, sampler: str
) -> None:
    path = write_study(
        fixed={"stage2.methods": ["dpo"]},
        space=RANGES,
        sampler={"name": sampler, "trials": 14, "batch": 3},
    )
    straight = opener(path, tmp_path / "straight.db")()
    run_through(straight)
    broken = opener(path, tmp_path / "broken.db")
    kills = random.Random(1)
    for _ in range(200):
        study = broken()  # a new process: nothing but the storage is left
        slots = study.next_slots()
        if not slots:
            break
        kills.shuffle(slots)
        for slot in slots[: kills.randint(0, len(slots))]:
            finish(study, slot)
    assert len(history(straight)) == 14
    assert history(broken()) == history(straight)
    assert {trial.state.name for trial in broken().trials()} == {"COMPLETE"}


def test_tpe_learns_from_results(write_study: Writer, tmp_path: Path) -> None:
    path = write_study(
        fixed={"stage2.methods": ["dpo"]}, space=RANGES, sampler={"name": "tpe", "trials": 40, "batch": 4}
    )
    study = opener(path, tmp_path / "x.db")()
    while slots := study.next_slots():
        for slot in slots:
            keep = float(slot.cell.shown["stage2.keep"])
            study.finish(slot, "t", Result([-((keep - 0.3) ** 2)], {}))
    keeps = [trial.params["stage2.keep"] for trial in study.trials()]
    late, early = keeps[-12:], keeps[:10]
    assert sum(abs(k - 0.3) for k in late) / 12 < 0.7 * sum(abs(k - 0.3) for k in early) / 10


def test_two_drivers_at_once_make_one_history(write_study: Writer, tmp_path: Path) -> None:
    path = write_study(
        fixed={"stage2.methods": ["dpo"]}, space=RANGES, sampler={"name": "tpe", "trials": 8, "batch": 4}
    )
    single = opener(path, tmp_path / "one.db")()
    run_through(single)
    both = [opener(path, tmp_path / "two.db")() for _ in range(2)]
    while slots := [study.next_slots() for study in both]:
        if not slots[0]:
            break
        assert slots[0] == slots[1], "both compute the same cells, and the store shares the work"
        for slot in slots[0]:
            for study in both:  # both report; the second one must change nothing
                finish(study, slot)
    assert history(both[0]) == history(single)


def test_a_trial_that_a_killed_driver_half_asked_is_closed(write_study: Writer, tmp_path: Path) -> None:
    path = write_study(
        fixed={"stage2.methods": ["dpo"]}, space=RANGES, sampler={"name": "tpe", "trials": 4, "batch": 4}
    )
    study = opener(path, tmp_path / "x.db")()
    study.study.ask()  # no field was written yet
    run_through(opener(path, tmp_path / "x.db")())
    states = [trial.state.name for trial in study.trials()]
    assert states == ["FAIL"] + ["COMPLETE"] * 4


def test_a_grid_adds_cells_in_its_own_order_and_only_once(write_study: Writer, tmp_path: Path) -> None:
    path = write_study()
    study = opener(path, tmp_path / "x.db")()
    assert [slot.cell for slot in study.next_slots()] == list(study._space.cells())
    run_through(study)
    again = opener(path, tmp_path / "x.db")()
    assert again.next_slots() == []
    assert len(again.trials()) == 4


def test_a_failed_cell_is_given_up_by_this_run_and_tried_by_the_next(
    write_study: Writer, tmp_path: Path
) -> None:
    open_study = opener(write_study(), tmp_path / "x.db")
    study = open_study()
    first, *others = study.next_slots()
    study.finish(first, "t", Result(None, {}, reason="the disk caught fire"))
    for slot in others:
        finish(study, slot)
    assert study.next_slots() == []
    assert study.trials()[0].user_attrs["reason"] == "the disk caught fire"
    assert open_study().next_slots() == [first]


@pytest.mark.parametrize("values", [[["dpo"], ["orpo"], ["dpo", "orpo"]], [["orpo"], []]])
def test_a_wider_grid_runs_only_its_new_cells(write_study: Writer, tmp_path: Path, values: list[Any]) -> None:
    metric = [{"metric": "greedy/dev/hybrid_ft_1"}]
    path = write_study(objectives=metric)
    run_through(opener(path, tmp_path / "x.db")())
    before = opener(path, tmp_path / "x.db")().trials()
    wider = {"stage2.keep": [0.0, 0.3, 0.7], "stage2.methods": values}
    study = opener(write_study(space=wider, objectives=metric), tmp_path / "x.db")()
    assert [(t.params, t.values, t.user_attrs) for t in study.trials()] == [
        (t.params, t.values, t.user_attrs) for t in before
    ]
    new = study.next_slots()
    old = {(keep, method) for keep in (0.0, 0.3) for method in ("dpo", "orpo")}
    shown = {tuple(slot.cell.shown.values()) for slot in new}
    assert shown == {tuple(cell.shown.values()) for cell in study._space.cells()} - old
    run_through(study)
    assert study.next_slots() == []


def test_a_copy_can_be_killed_anywhere(
    write_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widen the study again and again, each time failing at a later call into the storage."""
    metric = [{"metric": "greedy/dev/hybrid_ft_1"}]
    path = write_study(objectives=metric)
    database = tmp_path / "x.db"
    run_through(opener(path, database)())
    wider = opener(
        write_study(
            space={"stage2.keep": [0.0, 0.3], "stage2.methods": [["dpo"], ["orpo"], []]}, objectives=metric
        ),
        database,
    )
    steps = ("create_new_study", "create_new_trial", "set_study_user_attr", "delete_study")
    for fatal in range(40):
        calls = iter(range(1000))

        def dying(name: str, calls: Any = calls, fatal: int = fatal) -> Any:
            original = getattr(optuna.storages.RDBStorage, name)

            def call(self: Any, *args: Any, **kwargs: Any) -> Any:
                if next(calls) == fatal:
                    raise KeyboardInterrupt
                return original(self, *args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in steps:
                patch.setattr(optuna.storages.RDBStorage, name, dying(name))
            try:
                study = wider()
            except KeyboardInterrupt:
                continue
        break
    else:
        pytest.fail("the copy never came to an end")
    assert fatal > 5
    assert len([trial for trial in study.trials() if trial.state.name == "COMPLETE"]) == 4
    assert len(study.next_slots()) == 2
    assert optuna.get_all_study_names(open_storage(f"sqlite:///{database}")) == ["tiny-study"]


def test_what_would_make_trials_incomparable_is_refused_with_the_difference(
    write_study: Writer, tmp_path: Path
) -> None:
    run_through(opener(write_study(), tmp_path / "x.db")())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"fixed": {"sft.learning_rate": 0.5}}, r"base.sft.learning_rate: 0.003 before, 0.5 now"),
        ({"seeds": [0, 1]}, r"seeds: \[0\] before, \[0, 1\] now"),
        ({"space": {"stage2.methods": [["dpo"]]}}, r"space.stage2.keep: numbers before, not there now"),
        ({"objectives": [{"metric": "labels/agreed_1"}]}, r"objectives: maximize accuracy before"),
        (
            {"experiment": {"weak": str(Path(__file__).parents[2] / "experiments/mini/bases/qwen2")}},
            r"base.weak",
        ),
    ]
    for change, message in changes:
        with pytest.raises(UserError, match=message) as caught:
            opener(write_study(**change), tmp_path / "x.db")()
        assert "Give the study another name" in str(caught.value)
    assert len(opener(write_study(), tmp_path / "x.db")().trials()) == 4


def test_a_study_that_no_sweep_made_is_left_alone(write_study: Writer, tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'x.db'}")
    optuna.create_study(storage=storage, study_name="tiny-study").add_trial(
        optuna.trial.create_trial(value=1.0, params={}, distributions={})
    )
    with pytest.raises(UserError, match="that no sweep made"):
        opener(write_study(), tmp_path / "x.db")()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all.db", "cannot be reached: unable to open database file"),
        ("postgresql://me:secret@127.0.0.1:9/x", r"(cannot be reached|driver is missing)"),
        (
            "mysql://me:secret@127.0.0.1:9/x",
            "(cannot be reached|driver is missing; use sqlite or postgresql)",
        ),
        ("just words", "is no database URL"),
        ("oracle9://x", "cannot be reached"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line_without_its_password(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_pruner_gives_up_what_is_below_the_median(write_study: Writer, tmp_path: Path) -> None:
    study = opener(
        write_study(
            space={"stage2.keep": {"low": 0.0, "high": 0.9, "step": 0.1}, "stage2.methods": [["dpo"]]},
            pruner={"name": "median", "startup_trials": 4},
            sampler={"name": "grid", "batch": 4},
        ),
        tmp_path / "x.db",
    )()
    for number, slot in enumerate(study.next_slots()):
        study.finish(slot, "t", Result([number / 10], {}, {1: number / 10}))
    slot = study.next_slots()[0]
    assert study.prunes(slot, {1: 0.1})
    assert not study.prunes(slot, {1: 0.25})
    study.finish(slot, "t", Result(None, {}, {1: 0.1}, pruned=True))
    assert study.trials()[-1].state.name == "PRUNED"
    assert slot not in study.next_slots()


@pytest.mark.parametrize(
    "changes",
    [
        {"space": {"stage2.keep": {"low": 0.0, "high": 0.9, "step": 0.1}}, "sampler": {"batch": 4}},
        {"space": RANGES, "sampler": {"name": "tpe", "trials": 12, "batch": 4}},
    ],
    ids=["grid", "tpe"],
)
def test_a_pruner_compares_with_what_was_complete_when_the_batch_began(
    write_study: Writer, tmp_path: Path, changes: dict[str, Any]
) -> None:
    pruner = {"name": "median", "startup_trials": 4}
    path = write_study(fixed={"stage2.methods": ["dpo"]}, pruner=pruner, **changes)
    open_study = opener(path, tmp_path / "x.db")
    study = open_study()
    for number, slot in enumerate(study.next_slots()):
        study.finish(slot, "t", Result([number / 10], {}, {1: number / 10}))
    *first_three, last = study.next_slots()
    assert not study.prunes(last, {1: 0.2}), "above the median of 0, 0.1, 0.2, 0.3"
    for slot in first_three:
        study.finish(slot, "t", Result([0.9], {}, {1: 0.9}))
    again = open_study()
    assert again.next_slots() == [last]
    assert not again.prunes(last, {1: 0.2}), "the median with the batch's other cells would be 0.3"
    again.finish(last, "t", Result([0.2], {}, {1: 0.2}))
    assert again.prunes(again.next_slots()[0], {1: 0.24}), "the next batch is compared with all eight"


def test_objectives_may_be_two(write_study: Writer, tmp_path: Path) -> None:
    objectives = [{"metric": "accuracy"}, {"metric": "tokens", "direction": "minimize"}]
    study = opener(write_study(objectives=objectives), tmp_path / "x.db")()
    results = [[0.5, 100.0], [0.6, 200.0], [0.4, 300.0], [0.6, 250.0]]
    for slot, values in zip(study.next_slots(), results, strict=True):
        study.finish(slot, "t", Result(values, {}))
    assert sorted(trial.number for trial in study.best()) == [0, 1]
    assert json.loads(json.dumps(study.study.metric_names)) == ["accuracy", "tokens"]


def test_a_whole_copy_takes_the_place_of_a_study_that_is_gone(write_study: Writer, tmp_path: Path) -> None:
    study = opener(write_study(), tmp_path / "x.db")()
    run_through(study)
    storage = open_storage(f"sqlite:///{tmp_path / 'x.db'}")
    finish_copy(storage, "tiny-study")
    assert len(study.trials()) == 4


@pytest.mark.parametrize(("failures", "answers"), [(4, True), (1000, False)])
def test_a_server_that_takes_no_connection_for_a_while(
    failures: int, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, calls = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    engine = sqlalchemy.create_engine("sqlite://", poolclass=NullPool)
    real = engine.dialect.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        calls.append(clock[0])
        if len(calls) <= failures:
            raise sqlite3.OperationalError("the database system is starting up")
        return real(*arguments, **options)

    monkeypatch.setattr(engine.dialect, "connect", connect)
    storage.outlast_restarts(engine)
    if answers:
        engine.connect().close()
        assert len(calls) == 5
    else:
        with (
            pytest.raises(UserError, match="stopped answering: the database system is starting up"),
            storage.still_answers("postgresql://h/x"),
        ):
            engine.connect()
        assert 50 < calls[-1] <= storage.RESTART_S
