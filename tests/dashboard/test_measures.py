"""Measures against the tables' own numbers and a slow counting; what is kept on disk is never an old rule's."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.synthetic import TinyStore
from tests.dashboard.stores import add_run, targets_of
from w2s_analysis.dashboard import measures
from w2s_analysis.dashboard.measures import MeasureCache, Measures, measure
from w2s_analysis.reading.pair import cluster_labels
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.rows import read_rows, write_rows
from w2s_core.statistics import wilson


def measure_folder(folder: Path) -> Measures:
    """The measures of a result that lies anywhere; nothing says what it was graded against."""
    return measure(TinyStore(folder.parent), folder.name)  # type: ignore[arg-type]


def test_shares_and_coverage_are_what_counting_gives(shown_store: Store) -> None:
    for label, key in shown_store.refs.read("llama-0")["targets"].items():
        rows = read_rows(shown_store.path(key) / "grades.parquet")
        verdicts = [verdict for row in rows for verdict in row["verdicts"]]
        shares = measure(shown_store, key)
        assert shares["share"][0] == pytest.approx(verdicts.count("right") / len(verdicts)), label
        whole = 120 if label.startswith("labels/") else None
        assert shares.get("coverage") == (None if whole is None else [len(rows) / whole, None, None])
        low, high = shares["share"][1:]
        assert low is not None
        assert high is not None
        assert 0 <= low < shares["share"][0] < high <= 1  # type: ignore[operator]


def test_pass_at_10_is_the_share_of_questions_with_any_right_response(shown_store: Store) -> None:
    key = shown_store.refs.read("llama-0")["targets"]["samples/test/dpo"]
    rows = read_rows(shown_store.path(key) / "grades.parquet")
    assert all(len(row["verdicts"]) == 10 for row in rows)
    any_right = np.mean(["right" in row["verdicts"] for row in rows])
    assert measure(shown_store, key)["pass"][0] == pytest.approx(any_right)


def test_without_templates_the_interval_is_wilsons(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "verdicts": ["right" if i % 4 else "wrong"], "finish": ["eos"], "tokens": [3]}
        for i in range(400)
    ]
    write_rows(tmp_path / "grades.parquet", rows)
    expected = wilson(300, 400)
    assert measure_folder(tmp_path)["share"] == pytest.approx([0.75, expected.low, expected.high], abs=2e-3)


def test_questions_of_one_template_make_the_interval_wider(tmp_path: Path) -> None:
    def width(templates: int) -> float:
        folder = tmp_path / str(templates)
        folder.mkdir()
        rows = [
            {"id": str(i), "template": f"t{i % templates}", "verdicts": ["right" if i % templates % 2 else "wrong"],
             "finish": ["eos"], "tokens": [1]}
            for i in range(400)
        ]  # fmt: skip
        write_rows(folder / "grades.parquet", rows)
        _, low, high = measure_folder(folder)["share"]
        assert low is not None
        assert high is not None
        return high - low

    assert width(20) > 2 * width(400)


def test_fewer_than_ten_responses_have_no_pass_at_10_and_an_empty_set_no_share(tmp_path: Path) -> None:
    write_rows(tmp_path / "grades.parquet", [])
    assert measure_folder(tmp_path) == {}
    few = tmp_path / "few"
    few.mkdir()
    row = {"id": "a", "verdicts": ["right"] * 9, "finish": ["eos"] * 9, "tokens": [1] * 9}
    write_rows(few / "grades.parquet", [row])
    assert "pass" not in measure_folder(few)


def test_a_result_without_grades_has_no_measures_and_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    assert measure_folder(tmp_path) == {}
    (tmp_path / "grades.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"no readable Parquet file"):
        measure_folder(tmp_path)


def test_a_question_without_template_is_a_cluster_of_its_own() -> None:
    assert cluster_labels([None, None]) is None
    labels = cluster_labels(["t", None, "t", None])
    assert labels is not None
    assert labels[0] == labels[2]
    assert len(set(labels)) == 3


def test_what_was_measured_is_there_at_the_next_start_until_the_rule_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dashboard.db"
    MeasureCache(path).keep({"k": {"share": [0.5, 0.4, 0.6], "coverage": [0.6, None, None]}})
    assert MeasureCache(path).load() == {"k": {"share": [0.5, 0.4, 0.6], "coverage": [0.6, None, None]}}
    monkeypatch.setattr(measures, "code_digest", lambda: "another rule")
    assert MeasureCache(path).load() == {}


def test_a_file_that_is_no_database_is_said_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dashboard.db"
    path.write_text("something else, long enough to be read as a header of a database")
    cache = MeasureCache(path)
    cache.keep({"k": {}})
    assert cache.trouble is not None
    assert str(path) in cache.trouble
    assert cache.load() == {}
    assert path.read_text().startswith("something else")
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT * FROM measures")


def test_measures_are_those_of_the_tables(store: Store) -> None:
    from w2s_analysis.reading.frame import load_frames
    from w2s_analysis.reading.groups import make_groups
    from w2s_core.statistics import score

    add_run(store, "one", targets=targets_of("one"))
    group = make_groups(load_frames(store, ["one"]))[0]
    for method in ("weak_floor", "dpo"):
        expected = score(group.table(method), group.clusters)
        key = store.refs.read("one")["targets"][f"greedy/test/{method}"]
        assert measure(store, key)["share"] == pytest.approx([expected.value, expected.low, expected.high])
