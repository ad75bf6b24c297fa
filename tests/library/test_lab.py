"""The library says what the command line says, and computes what it computes."""

import csv
import json
from pathlib import Path

import matplotlib.figure
import pandas as pd
import pytest

import w2s
from tests.library.conftest import Typed


def printed(typed: Typed, *words: str) -> str:
    done = typed(*words)
    assert done.exception is None, done.exception
    return done.stdout


def test_runs_are_those_of_the_command_line(lab: w2s.Lab, typed: Typed) -> None:
    label = next(name for name in lab["first"].targets if name.startswith("greedy/test/"))
    frame = lab.runs(accuracy=[label])
    listed = json.loads(printed(typed, "runs", "--json", "--accuracy", label))
    assert frame["run"].tolist() == ["first", "second"] == [row["run"] for row in listed]
    assert frame[label].tolist() == [row["accuracy"][label] for row in listed]
    assert lab.runs(where={"stage2.dpo.beta": 0.2})["run"].tolist() == ["second"]
    assert frame["complete"].all()


def test_a_finished_experiment_is_planned_as_cached_and_has_the_keys_of_the_command(
    lab: w2s.Lab, folder: Path, typed: Typed
) -> None:
    steps = lab.plan(folder / "tiny.yaml")
    assert set(steps["state"]) == {"cached"}
    assert lab.plan(folder / "tiny.yaml", {"stage2.keep": 0.3})["state"].eq("missing").any()
    text = printed(typed, "plan", str(folder / "tiny.yaml"))
    assert all(key[:12] in text for key in steps["key"])


def test_accuracy_is_the_share_of_right_verdicts(lab: w2s.Lab) -> None:
    run = lab["first"]
    table = run.accuracy().set_index("target")
    for target in table.index:
        verdicts = [verdict for row in run.read(target)["verdicts"] for verdict in row]
        assert table.loc[target, "accuracy"] == verdicts.count("right") / len(verdicts)


def test_compare_is_the_comparison_of_the_command(lab: w2s.Lab, typed: Typed, tmp_path: Path) -> None:
    comparison = lab.compare("first", "second")
    printed(typed, "compare", "first", "second", "--out", str(tmp_path))
    with (tmp_path / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert comparison.overview["result"].tolist() == [row["result"] for row in rows]
    shown = [row["B - A, points"] for row in rows]
    assert comparison.overview["one_result"].tolist() == [text == "one result" for text in shown]
    assert {*comparison.overview["one_result"]} == {True, False}
    computed = comparison.overview["B - A, points"].dropna().tolist()
    assert computed == [float(text) for text in shown if text != "one result"]
    result = rows[-1]["result"]
    scores = comparison.questions[result]
    assert 100 * scores["b"].mean() == pytest.approx(float(rows[-1]["B"]))


def test_tables_and_figures_are_those_of_the_report(lab: w2s.Lab, typed: Typed, tmp_path: Path) -> None:
    printed(typed, "tables", "first", "second", "--out", str(tmp_path))
    tables = lab.tables("first", "second")
    files = {path.stem for path in tmp_path.glob("*.csv")}
    assert set(tables) & files >= {"stage1", "levels", "cost"}
    for name in tables.keys() & files:
        with (tmp_path / f"{name}.csv").open() as file:
            assert len(tables[name]) == len(list(csv.reader(file))) - 1
    assert isinstance(lab.figure("stage1", "first", "second"), matplotlib.figure.Figure)


def test_mistakes_are_one_line(lab: w2s.Lab, folder: Path) -> None:
    with pytest.raises(w2s.UserError, match="no run is named 'third'"):
        lab["third"]
    with pytest.raises(w2s.UserError, match="has no step 'greedy/test/dp'; like it: greedy/test/dpo"):
        lab["first"].read("greedy/test/dp")
    with pytest.raises(w2s.UserError, match="no part of the report is named 'stage3': there are .*stage1"):
        lab.figure("stage3", "first")
    with pytest.raises(w2s.UserError, match="seeed"):
        lab.run(folder / "tiny.yaml", seeed=1)
    with pytest.raises(w2s.UserError, match="is no table: its files lie in"):
        lab["first"].read(next(name for name in lab["first"].record["steps"] if name.startswith("sft:")))


@pytest.mark.slow
def test_workers_give_the_results_of_one_process(lab: w2s.Lab, folder: Path, tmp_path: Path) -> None:
    run = w2s.Lab(tmp_path / "store").run(folder / "tiny.yaml", name="first", workers=2)
    pd.testing.assert_frame_equal(run.accuracy(), lab["first"].accuracy())
    assert run.record["targets"] == lab["first"].record["targets"]
