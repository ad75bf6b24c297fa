"""A study's database that is torn, locked, of another version or lost: a line each, and made anew from the store."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.sweeps.conftest import Writer
from w2s_core.engine import Store
from w2s_core.engine.session import Session
from w2s_core.errors import UserError
from w2s_sweeps import journal, storage
from w2s_sweeps.cells import CellPlanner
from w2s_sweeps.definition import define
from w2s_sweeps.journal import journal_of, rebuild, refuse_lost
from w2s_sweeps.optuna_study import OptunaStudy, Result, Slot
from w2s_sweeps.storage import known_studies, open_storage
from w2s_sweeps.study_file import load_study

RANGES = {
    "stage2.keep": {"low": 0.1, "high": 0.9},
    "sft.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
STUDIES: dict[str, dict[str, Any]] = {
    "grid": {},
    "pruned grid": {"sampler": {"batch": 2}, "pruner": {"name": "median", "startup_trials": 1}},
    **{
        name: {
            "fixed": {"stage2.methods": ["dpo"]},
            "space": RANGES,
            "sampler": {"name": name, "trials": 70, "batch": 4},
        }
        for name in ("tpe", "qmc", "nsga2")
    },
}


def url_of(store: Store) -> str:
    return storage.default_url(store.root)


def open_study(path: Path, store: Store, *, url: str | None = None) -> OptunaStudy:
    loaded = load_study(path)
    planner = CellPlanner(loaded)
    definition = define(loaded, planner.plan(planner.space.example()))
    notes = None if url else journal_of(url_of(store), loaded.study.name, store)
    return OptunaStudy(
        loaded.study, planner.space, definition, url or url_of(store), contextlib.nullcontext, journal=notes
    )


def finish(study: OptunaStudy, slot: Slot) -> None:
    """Some are given up, some fail, the others have a value of the cell alone."""
    draw = random.Random(slot.cell.digest).random()
    reason = "the disk was full" if 0.5 < draw < 0.6 else None
    pruned = draw < 0.1
    values = None if reason or pruned else [draw]
    study.finish(slot, "t", Result(values, {"runs": ["a"]}, {1: draw / 2}, pruned=pruned, reason=reason))


def trials(store: Store, *, url: str | None = None) -> list[dict[str, Any]]:
    """All that Optuna has of the trials but the ids in its tables."""
    study = optuna.load_study(study_name="tiny-study", storage=open_storage(url or url_of(store)))
    return [
        {name: value for name, value in vars(trial).items() if name != "_trial_id"} for trial in study.trials
    ]


def attributes(store: Store) -> tuple[Any, ...]:
    study = optuna.load_study(study_name="tiny-study", storage=open_storage(url_of(store)))
    return study.user_attrs, study.metric_names, study.directions


def begin(path: Path, store: Store, ended: int) -> None:
    """A sweep that was killed after so many trials, in the middle of a batch where trials come in batches."""
    study = open_study(path, store)
    while ended > 0 and (slots := study.next_slots()):
        for slot in slots[:ended]:
            finish(study, slot)
        ended -= len(slots)
    study.note_test_read("2026-01-01", ["keep=0"])


def database(store: Store) -> Path:
    return store.root / "studies.db"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize(
    ("kind", "ended"),
    [
        ("grid", 2),
        ("pruned grid", 3),
        ("tpe", 14),
        pytest.param("qmc", 6, marks=pytest.mark.slow),
        pytest.param("nsga2", 62, marks=pytest.mark.slow),
    ],
)
def test_a_rebuilt_study_is_the_old_one_and_chooses_the_same_next_trials(
    write_study: Writer, store: Store, tmp_path: Path, kind: str, ended: int
) -> None:
    path = write_study(**STUDIES[kind])
    begin(path, store, ended)
    before, attrs = trials(store), attributes(store)
    shutil.copy(database(store), tmp_path / "kept.db")
    database(store).unlink()
    # Ids of the new tables differ from those of the old ones, as they do where a file holds several studies.
    optuna.create_study(storage=url_of(store), study_name="a").add_trial(
        optuna.trial.create_trial(value=1.0, params={}, distributions={})
    )
    other = journal_of(url_of(store), "a", store)
    assert other is not None
    other.note(optuna.load_study(study_name="a", storage=url_of(store)))
    assert f"tiny-study ({len(before)} trials)" in rebuild(url_of(store), store)
    assert trials(store) == before
    assert attributes(store) == attrs
    assert known_studies(url_of(store)) == ["a", "tiny-study"]

    straight, rebuilt = (
        open_study(path, store, url=f"sqlite:///{tmp_path / 'kept.db'}"),
        open_study(path, store),
    )
    for _ in range(3):
        slots = straight.next_slots()
        assert rebuilt.next_slots() == slots
        for slot in slots:
            finish(straight, slot)
            finish(rebuilt, slot)
    assert [(t.params, t.values) for t in rebuilt.trials()] == [
        (t.params, t.values) for t in straight.trials()
    ]


def test_a_widened_grid_comes_back_with_its_choices(write_study: Writer, store: Store) -> None:
    metric = [{"metric": "greedy/dev/hybrid_ft_1"}]
    begin(write_study(objectives=metric), store, 4)
    wider = {"stage2.keep": [0.0, 0.3, 0.7], "stage2.methods": [["dpo"], ["orpo"], []]}
    path = write_study(space=wider, objectives=metric)
    begin(path, store, 2)
    before = trials(store)
    database(store).unlink()
    rebuild(url_of(store), store)
    assert trials(store) == before
    assert len(open_study(path, store).next_slots()) == 9 - sum(t["state"].name != "FAIL" for t in before)


def tear(file: Path) -> None:
    file.write_bytes(b"no database at all, but long enough to have a header of one " * 20)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:9000])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def age(file: Path) -> None:
    with sqlite3.connect(file) as base:
        base.execute("update version_info set schema_version = 3, library_version = '0.9'")
        base.execute("update alembic_version set version_num = 'unheard'")
    base.close()


def strip(file: Path) -> None:
    with sqlite3.connect(file) as base:
        base.execute("alter table trial_params drop column param_value")
    base.close()


def look(store: Store) -> None:
    """What a sweep reads first."""
    with storage.still_answers(url_of(store)):
        refuse_lost(url_of(store), "tiny-study", store)
        trials(store)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (tear, "cannot be reached: file is not a database; "),
        (cut, "(cannot be reached|stopped answering): database disk image is malformed; "),
        (empty, r"study 'tiny-study' is lost: 4 of its trials are noted in .*studies.db does not have them; "),
        (Path.unlink, "study 'tiny-study' is lost: 4 of its trials are noted in .*"),
        (age, "cannot be reached: The runtime optuna version .* is no longer compatible with the table schema"),
        (strip, "stopped answering: no such column: trial_params.param_value; "),
    ],
)  # fmt: skip
def test_each_damage_is_a_line_that_names_the_way_back(
    write_study: Writer, store: Store, damage: Any, message: str
) -> None:
    path = write_study()
    begin(path, store, 4)
    before = trials(store)
    damage(database(store))
    damaged = database(store).read_bytes() if database(store).exists() else b""
    with pytest.raises(UserError, match=message) as caught:
        look(store)
    assert "\n" not in str(caught.value)
    assert "w2s sweep STUDY.yaml --rebuild" in str(caught.value)

    line = rebuild(url_of(store), store)
    assert trials(store) == before
    refuse_lost(url_of(store), "tiny-study", store)
    if damaged:  # an empty file gets tables when it is opened
        assert Path(line.split("what was there lies in ")[1]).read_bytes() == damaged


def test_a_locked_database_is_a_line(
    write_study: Writer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study()
    study = open_study(path, store)
    monkeypatch.setattr(storage, "LOCKED_S", 0.1)
    with sqlite3.connect(database(store)) as other:
        other.execute("begin exclusive")
        with (
            pytest.raises(
                UserError, match=r"database is locked: another program holds it for more than 0.1 s"
            ),
            storage.still_answers(url_of(store)),
        ):
            open_study(path, store)
    other.close()
    assert study.next_slots()


def test_a_torn_line_of_the_notes_costs_what_followed_it_and_no_more(
    write_study: Writer, store: Store
) -> None:
    path = write_study()
    begin(path, store, 4)
    before = trials(store)
    (notes,) = (store.root / "studies").iterdir()
    lines = notes.read_text().splitlines(keepends=True)
    third = next(i for i, line in enumerate(lines) if '"number": 2' in line)
    notes.write_text("".join([*lines[:third], lines[third][:40] + "\n", *lines[third + 1 :]]))
    database(store).unlink()
    rebuild(url_of(store), store)
    assert trials(store) == before[:2]


def test_an_interrupted_rebuild_leaves_the_old_database(
    write_study: Writer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(write_study(), store, 4)
    before = trials(store)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_set_aside", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rebuild(url_of(store), store)
    assert trials(store) == before
    rebuild(url_of(store), store)
    assert trials(store) == before


def test_a_rebuild_is_refused_beside_a_run_and_without_a_file(store: Store) -> None:
    with pytest.raises(UserError, match="restore another one from its server's backup"):
        rebuild("postgresql://u@127.0.0.1/x", store)
    with Session.open(store, []), pytest.raises(UserError, match="something runs on"):
        rebuild(url_of(store), store)


def test_without_notes_a_damaged_database_is_moved_and_the_study_begins_again(
    write_study: Writer, store: Store
) -> None:
    tear(database(store))
    assert "no study was noted in the store" in rebuild(url_of(store), store)
    assert len(open_study(write_study(), store).next_slots()) == 4
