"""The catalogue follows a store: runs and results that come and go; what cannot be read is said, the rest shown."""

import json
import time

import pytest

from tests.dashboard.stores import add_foreign_run, add_run, compute, targets_of
from w2s_analysis.dashboard.catalogue import Catalogue, studies_of
from w2s_core.engine import Store
from w2s_core.rows import read_rows


def test_values_are_per_cent_of_what_the_run_points_at(shown_store: Store) -> None:
    catalogue = Catalogue(shown_store)
    catalogue.update()
    shown = catalogue.snapshot
    targets = shown_store.refs.read("llama-0")["targets"]
    for column, label in (
        ("accuracy/test/M_plus + DPO", "greedy/test/dpo"),
        ("accuracy/test/M_plus", "greedy/test/hybrid_ft_2"),
        ("precision/last agreed", "labels/agreed_2"),
    ):
        rows = read_rows(shown_store.path(targets[label]) / "grades.parquet")
        right = sum(row["verdicts"][0] == "right" for row in rows)
        value = shown.value("llama-0", column)
        assert value is not None
        assert value[0] == pytest.approx(100 * right / len(rows))
    rows = read_rows(shown_store.path(targets["labels/agreed_2"]) / "grades.parquet")
    coverage = shown.value("llama-0", "coverage/last agreed")
    assert coverage is not None
    assert coverage[0] == pytest.approx(100 * len(rows) / 120)
    assert shown.value("llama-0", "accuracy/test/M_plus + ORPO") is None
    assert not shown.unread
    assert shown.troubles == {}


def test_the_latest_run_stands_first_and_a_study_restricts_to_its_runs(shown_store: Store) -> None:
    assert next(iter(Catalogue(shown_store).snapshot.runs)) == "mistral-2"
    assert set(Catalogue(shown_store, "ablation").snapshot.runs) == {"llama-0", "llama-1", "llama-2"}
    assert studies_of(shown_store) == {"ablation"}


def test_a_run_that_is_being_computed_fills_up(store: Store) -> None:
    targets = targets_of("one")
    add_run(store, "one", targets=targets, missing=("greedy/test/dpo", "labels/agreed_2"))
    catalogue = Catalogue(store)
    catalogue.update()
    assert catalogue.snapshot.state("one") == "7 of 9"
    assert catalogue.snapshot.value("one", "accuracy/test/M_plus + DPO") is None
    assert not catalogue.update()
    for label in ("greedy/test/dpo", "labels/agreed_2"):
        compute(store, targets[label])
    assert catalogue.update()
    assert catalogue.snapshot.state("one") == "complete"
    assert catalogue.snapshot.value("one", "accuracy/test/M_plus + DPO") is not None


def test_reading_rests_while_a_page_is_opened_and_then_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(store, "one", targets=targets_of("one"))
    monkeypatch.setattr("w2s_analysis.dashboard.catalogue.GIVE_WAY_S", 1.0)
    catalogue = Catalogue(store)
    unread = catalogue.snapshot.unread
    assert unread
    catalogue.give_way()
    catalogue.start()
    time.sleep(0.3)
    assert catalogue.snapshot.unread == unread
    deadline = time.monotonic() + 20
    while catalogue.snapshot.unread and time.monotonic() < deadline:
        time.sleep(0.02)
    catalogue.stop()
    assert not catalogue.snapshot.unread


def test_runs_come_change_and_go_without_a_restart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("w2s_analysis.dashboard.catalogue.LOOK_EVERY_S", 0.05)
    add_run(store, "one")
    catalogue = Catalogue(store)
    catalogue.start()
    try:
        add_run(store, "two", settings={"shots": 2}, minute=1)
        _wait(lambda: "two" in catalogue.snapshot.runs and not catalogue.snapshot.unread)
        assert catalogue.snapshot.value("two", "accuracy/test/M_plus + DPO") is not None
        add_run(store, "two", settings={"shots": 8}, minute=1)
        _wait(lambda: catalogue.snapshot.runs["two"].fields["shots"] == 8)
        store.refs.delete("one")
        _wait(lambda: set(catalogue.snapshot.runs) == {"two"})
    finally:
        catalogue.stop()


def _wait(happened, seconds: float = 15.0) -> None:  # type: ignore[no-untyped-def]
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "the catalogue did not notice"
        time.sleep(0.05)


def test_records_that_are_no_runs_are_said_and_the_others_shown(store: Store) -> None:
    add_run(store, "good")
    refs = store.root / "refs"
    (refs / "torn.json").write_text('{"targets": ')
    (refs / "list.json").write_text("[]")
    (refs / "odd.json").write_text(json.dumps({"targets": {"greedy/test/dpo": 3}}))
    catalogue = Catalogue(store)
    catalogue.update()
    assert set(catalogue.snapshot.runs) == {"good"}
    assert set(catalogue.snapshot.troubles) == {"torn", "list", "odd"}


def test_runs_of_a_recipe_that_is_not_installed_have_their_results(store: Store) -> None:
    add_run(store, "ours")
    add_foreign_run(store, "foreign", minute=1)
    catalogue = Catalogue(store)
    catalogue.update()
    targets = store.refs.read("foreign")["targets"]
    for column, label in (
        ("accuracy/test/preferred", "greedy/test/dpo"),
        ("accuracy/test/last round", "greedy/test/round_2"),
        ("precision/majority votes", "labels/voted"),
    ):
        rows = read_rows(store.path(targets[label]) / "grades.parquet")
        right = sum(row["verdicts"][0] == "right" for row in rows)
        value = catalogue.snapshot.value("foreign", column)
        assert value is not None
        assert value[0] == pytest.approx(100 * right / len(rows))
        assert catalogue.snapshot.value("ours", column) is None
    assert catalogue.snapshot.value("foreign", "accuracy/test/M_plus + DPO") is None
    assert catalogue.snapshot.troubles == {}


def test_a_damaged_outline_is_said_and_its_run_shown(store: Store) -> None:
    add_foreign_run(store, "foreign")
    record = store.refs.read("foreign")
    record["outline"][0]["title"] = "<script>"
    store.refs.write("foreign", record)
    catalogue = Catalogue(store)
    catalogue.update()
    assert catalogue.snapshot.state("foreign") == "complete"
    assert list(catalogue.snapshot.troubles) == ["foreign"]
    assert catalogue.snapshot.value("foreign", "accuracy/test/preferred") is not None


def test_a_damaged_result_is_said_and_read_again_once_it_is_remade(store: Store) -> None:
    targets = targets_of("one")
    add_run(store, "one", targets=targets)
    key = targets["greedy/test/dpo"].key
    file = store.folder(key) / "grades.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    catalogue = Catalogue(Store(store.root))
    catalogue.update()
    assert catalogue.snapshot.value("one", "accuracy/test/M_plus + DPO") is None
    assert "damaged" in catalogue.snapshot.troubles[key]
    catalogue.update()  # it lies in quarantine now
    assert catalogue.snapshot.state("one") == "8 of 9"
    compute(store, targets["greedy/test/dpo"])
    catalogue.update()
    assert catalogue.snapshot.value("one", "accuracy/test/M_plus + DPO") is not None
    assert catalogue.snapshot.troubles == {}


def test_each_result_is_read_once_in_the_life_of_a_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from w2s_analysis.dashboard import catalogue as module

    shared = targets_of("one")
    add_run(store, "one", targets=shared)
    add_run(store, "two", targets=shared, minute=1)
    read: list[str] = []
    measure = module.measure
    monkeypatch.setattr(module, "measure", lambda store, key: read.append(key) or measure(store, key))  # type: ignore[func-returns-value]
    Catalogue(store).update()
    assert len(read) == len(set(read)) == len(shared)
    again = Catalogue(store)
    assert not again.snapshot.unread
    assert again.snapshot.value("two", "accuracy/test/M_plus + DPO") is not None
    assert len(read) == len(shared)
