"""What reports keep of results: it is what the files say, whatever befell it or them; reports are right without it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.synthetic import TinyStore, grades, rng_of
from tests.engine.test_damage import OF_JSON
from w2s_analysis.reading import results as module
from w2s_analysis.reading.columns import NAME
from w2s_analysis.reading.results import Results, read_graded
from w2s_core.engine import disk, index

SETS = {"first": 1, "second": 1, "samples": 3}


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_SETTLED_S", -3600.0)  # else nothing that a test has just written is kept


@pytest.fixture
def filled(store: TinyStore) -> TinyStore:
    """A store with three graded sets, all of them kept; two have the same questions."""
    for key, samples in SETS.items():
        store.put(key, "grades.parquet", graded_rows(key, samples))
    read(store)
    return store


def graded_rows(key: str, samples: int, accuracy: float = 0.5) -> list[dict[str, object]]:
    return grades("test" if samples == 1 else "dev", 40, accuracy, rng_of(key), samples)


def read(store: TinyStore) -> Results:
    """All sets and their manifests, kept for the next time."""
    results = Results(store)
    for key in SETS:
        results.graded(key)
        results.manifest(key)
    results.columns.save()
    return results


def files_read(store: TinyStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    original = module.read_graded
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "read_graded", lambda folder, *more: names.append(folder.name) or original(folder, *more)
        )
        assert_right(store)
    return names


def assert_right(store: TinyStore) -> None:
    """What the results give is what their files hold."""
    results = read(store)
    for key in SETS:
        graded, truth = results.graded(key), read_graded(store.path(key))
        assert graded.questions.ids == truth.questions.ids
        assert graded.levels == truth.levels
        for name in ("offsets", "verdicts", "cut_off", "c", "n", "right", "truncated", "ungraded"):
            assert np.array_equal(getattr(graded, name), getattr(truth, name)), name
            assert getattr(graded, name).dtype == getattr(truth, name).dtype, name
        assert results.manifest(key) == results._read_manifest(key, store.folder(key))
    assert results.graded("first").questions is results.graded("second").questions


def test_what_has_not_changed_is_not_read_again(filled: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files_read(filled, monkeypatch) == []
    (filled.root / NAME).unlink()
    assert files_read(filled, monkeypatch) == list(SETS)


def test_a_result_that_was_made_anew_is_read_again(
    filled: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.path("second").rename(filled.root / "gone")
    filled.put("second", "grades.parquet", graded_rows("second", 1, accuracy=0.9))
    assert files_read(filled, monkeypatch) == ["second"]


def test_what_has_just_been_written_is_not_kept(filled: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_SETTLED_S", 2.0)
    (filled.root / NAME).unlink()
    read(filled)
    assert not (filled.root / NAME).exists()


@pytest.mark.parametrize("damage", OF_JSON.values(), ids=list(OF_JSON))
def test_a_damaged_file_counts_as_none(
    filled: TinyStore, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    if damage is OF_JSON["cut off"]:
        (filled.root / NAME).write_bytes((filled.root / NAME).read_bytes()[:-20])
    else:
        damage(filled.root / NAME)
    assert files_read(filled, monkeypatch) == list(SETS)


def test_every_flipped_byte_is_seen(filled: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (filled.root / NAME).read_bytes()
    for place in range(0, len(whole), 101):
        (filled.root / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert files_read(filled, monkeypatch) == list(SETS)


def test_a_file_of_other_verdicts_counts_as_none(filled: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another version of the harness would leave it: whole, behind its own checksum."""
    title, _, data = (filled.root / NAME).read_bytes().partition(b"\n")
    disk.write_kept(filled.root / NAME, data, title.decode()[:-64].replace("right", "correct"))
    assert files_read(filled, monkeypatch) == list(SETS)


def test_a_file_that_cannot_be_written_is_not(filled: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (filled.root / NAME).unlink()
    (filled.root / f"{NAME}.new").mkdir()
    assert files_read(filled, monkeypatch) == list(SETS)
    assert not (filled.root / NAME).exists()


def test_results_that_are_gone_are_forgotten(filled: TinyStore) -> None:
    filled.path("first").rename(filled.root / "elsewhere")
    filled.put("new", "grades.parquet", graded_rows("new", 1))
    results = Results(filled)
    results.graded("new")
    results.columns.save()
    assert set(Results(filled).columns._rows) == {"second", "samples", "new"}
