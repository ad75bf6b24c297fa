"""`--json` gives one document: what the text says, with numbers in full; nothing beside it on stdout."""

import json
from pathlib import Path
from typing import Any

import pytest

import w2s
from tests.library.conftest import Typed
from w2s_analysis.writing.table import Cell, Table, to_document
from w2s_core.cli.render import as_json
from w2s_core.statistics import Bounds


def document(typed: Typed, *words: str) -> Any:
    done = typed(*words, "--json")
    assert done.exception is None, done.exception

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    return json.loads(done.stdout, parse_constant=refuse)


def test_show_gives_the_record_and_the_state_of_each_target(typed: Typed, lab: w2s.Lab) -> None:
    run, shown = lab["first"], document(typed, "show", "first")
    for field in ("run", "recipe", "started", "task", "seed", "command", "experiment", "questions", "steps"):
        assert shown[field] == run.record[field]
    assert {field: model["content"] for field, model in shown["models"].items()} == run.record["models"]
    assert {target["label"]: target["key"] for target in shown["targets"]} == run.targets
    graded = {target["label"]: target["accuracy"] for target in shown["targets"] if target["role"]}
    accuracy = run.accuracy().set_index("target")["accuracy"]
    assert graded == {label: accuracy[label] for label in graded}
    text = typed("show", "first").stdout
    for target in shown["targets"]:
        (line,) = (line for line in text.splitlines() if line.endswith(target["key"][:12]))
        assert line.split()[:2] == [target["label"], target["state"]]


def test_plan_gives_the_steps_of_the_text(
    typed: Typed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where speeds of this machine are kept
    config = str(folder / "tiny.yaml")
    planned = document(typed, "plan", config, "stage2.keep=0.3")
    text = typed("plan", config, "stage2.keep=0.3").stdout.splitlines()
    (total,) = (line for line in text if " steps: " in line)
    assert total.startswith(f"{len(planned['steps'])} steps: ")
    for step in planned["steps"]:
        (line,) = (line for line in text if line.startswith(f"{step['step']} "))
        assert line.endswith(step["key"][:12])
        assert step["state"] in line
        assert (step["likely"] == "twin") == ("missing, a twin" in line)
        assert (step["likely"] == "extends") == ("missing, extends" in line)
    expected = [step["expected_s"] for step in planned["steps"] if step["state"] == "missing"]
    assert None not in expected
    assert planned["expected_s"] == pytest.approx(sum(expected))
    assert planned["unknown"] == 0
    fresh = w2s.Lab(tmp_path / "empty").plan(config)
    assert fresh["expected_s"].isna().all(), "else the next line tests nothing"
    unknown = json.loads(typed("--store", str(tmp_path / "empty"), "plan", config, "--json").stdout)
    assert {step["expected_s"] for step in unknown["steps"]} == {None}
    assert unknown["unknown"] == len(unknown["steps"])


def test_compare_gives_the_overview_of_the_library(typed: Typed, lab: w2s.Lab) -> None:
    compared = document(typed, "compare", "first", "second")
    assert (compared["a"], compared["b"]) == ("first", "second")
    overview, *others = compared["tables"]
    assert {table["name"] for table in others} <= {"compare_levels", "compare_changes"}
    frame = lab.compare("first", "second").overview
    assert [row["result"] for row in overview["rows"]] == frame["result"].tolist()
    for row, (_, expected) in zip(overview["rows"], frame.iterrows(), strict=True):
        difference = row["B - A, points"]
        if expected["one_result"]:
            assert difference == "one result"
            assert row["p"] is None
            continue
        assert difference["value"] == pytest.approx(expected["B - A, points"], abs=1e-4)
        assert difference["low"] == pytest.approx(expected["B - A, points low"], abs=1e-4)
        assert row["p"] == pytest.approx(expected["p"], abs=1e-4)


def test_compare_refuses_what_goes_with_the_text_alone(typed: Typed, tmp_path: Path) -> None:
    for words in (("--answers", "any"), ("--out", str(tmp_path / "out"))):
        done = typed("compare", "first", "second", "--json", *words)
        assert isinstance(done.exception, w2s.UserError)
        assert "--json prints the tables of a comparison: not with" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_tables_gives_the_tables_of_the_report_and_writes_nothing(
    typed: Typed, lab: w2s.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (report,) = document(typed, "tables", "first", "second")["reports"]
    assert not list(tmp_path.iterdir())
    assert sorted(report["runs"]) == ["first", "second"]
    assert (report["recipe"], report["models"]) == ("weak_to_strong", {"strong": "strong"})
    by_name: dict[str, list[Any]] = {}
    for part in report["parts"]:
        for table in part["tables"]:
            by_name.setdefault(table["name"] or part["name"], []).extend(table["rows"])
    frames = lab.tables("first", "second")
    assert set(by_name) == {name for name, frame in frames.items() if len(frame)}
    for name, rows in by_name.items():
        assert len(rows) == len(frames[name])
    stage1 = frames["stage1"].set_index("method")["accuracy"]
    for row in by_name["stage1"]:
        assert row["accuracy"]["value"] == pytest.approx(stage1[row["method"]], abs=1e-3)


def test_a_cell_is_its_number_its_words_or_nothing() -> None:
    bounds = Bounds(lower=60.0, upper=80.0, low=50.0, high=float("nan"))
    table = Table("t", ["name", "share", "n", "none"], spans=("share",))
    table.rows = [
        {"name": Cell("a"), "share": Cell("70 [60, 80]", 70.25, 60.5, 80.5), "n": Cell("1,000", 1000)},
        {"name": Cell("b"), "share": Cell("70†", 70.0, 60.0, 80.0, bounds), "n": Cell("–"), "none": Cell("")},
    ]
    assert json.loads(as_json(to_document(table)))["rows"] == [
        {"name": "a", "share": {"value": 70.25, "low": 60.5, "high": 80.5}, "n": 1000, "none": None},
        {
            "name": "b",
            "share": {"value": 70, "low": 60, "high": 80}
            | {"worst": 60, "best": 80, "bounds_low": 50, "bounds_high": None},
            "n": None,
            "none": None,
        },
    ]


def test_no_number_that_json_lacks_comes_out() -> None:
    assert json.loads(as_json({"a": [float("nan"), 1.5], "b": (float("inf"),)})) == {
        "a": [None, 1.5],
        "b": [None],
    }
