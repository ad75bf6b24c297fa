"""Responses that are written out are those that the steps left, joined by id and draw; no file is replaced."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import w2s
from w2s_analysis.commands import responses

FIELDS = ["id", "question", "draw", "response", "answer", "gold", "verdict", "level"]


def write(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(responses, words, obj=folder / "store")


def rows_of(run: w2s.Run, step: str) -> list[dict[str, Any]]:
    return run.read(step).to_dict("records")


def test_each_response_stands_with_its_question_gold_answer_and_verdict(
    lab: w2s.Lab, folder: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "x.jsonl", lab["first"]
    assert write(folder, "first", "samples/test/dpo", "--out", str(out)).stdout == f"{out}: 12 responses\n"
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [list(row) for row in written] == [FIELDS] * 12
    asked = {row["id"]: row["question"] for row in rows_of(run, "questions:test")}
    gold = {row["id"]: row["gold"] for row in rows_of(run, "gold:test")}
    drawn = {row["id"]: row["responses"] for row in rows_of(run, "sample:samples/test/dpo")}
    graded = {row["id"]: row for row in rows_of(run, "samples/test/dpo")}
    assert len({(row["id"], row["draw"]) for row in written}) == 12
    for row in written:
        name, draw = row["id"], row["draw"]
        assert (row["question"], row["gold"]) == (asked[name], gold[name])
        assert row["response"] == drawn[name][draw]
        assert (row["answer"], row["verdict"]) == (
            graded[name]["answers"][draw],
            graded[name]["verdicts"][draw],
        )
        assert row["level"] == graded[name]["level"]


def test_a_model_stands_for_its_greedy_responses_and_a_sample_for_its_grades(
    lab: w2s.Lab, folder: Path, tmp_path: Path
) -> None:
    run = lab["first"]
    by_model = run.responses("dpo")
    assert by_model.equals(run.responses("greedy/test/dpo"))
    assert by_model.equals(run.responses("sample:greedy/test/dpo"))
    out = tmp_path / "x.parquet"
    assert write(folder, "first", "dpo", "--out", str(out)).exit_code == 0
    assert pd.read_parquet(out).equals(by_model)


def test_a_set_of_labels_has_the_column_that_was_graded(lab: w2s.Lab) -> None:
    run = lab["first"]
    chosen = dict(zip(run.read("pairs")["id"], run.read("pairs")["chosen"], strict=True))
    frame = run.responses("labels/pairs_chosen")
    assert dict(zip(frame["id"], frame["response"], strict=True)) == chosen


def test_responses_that_no_target_grades_have_no_verdicts(lab: w2s.Lab) -> None:
    record = lab.store.refs.read("first")
    targets = {label: key for label, key in record["targets"].items() if label != "vote"}
    outline = [entry for entry in record["outline"] if entry["name"] != "vote"]
    lab.store.refs.write("ungraded", record | {"run": "ungraded", "targets": targets, "outline": outline})
    try:
        frame = lab["ungraded"].responses("sample:vote")
    finally:
        lab.store.refs.delete("ungraded")
    graded = lab["first"].responses("sample:vote")
    assert frame[FIELDS[:4]].equals(graded[FIELDS[:4]])
    assert frame[FIELDS[4:]].isna().all(axis=None)
    assert not graded["verdict"].isna().any()


def test_mistakes_are_one_line_and_replace_nothing(folder: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.write_text("mine")
    for words, message in (
        (("first", "dpo", "--out", str(taken)), "there is something of that name already: name a new file"),
        (("first", "dpo", "--out", str(tmp_path / "x.csv")), r"name it .jsonl, .jsonl.gz or .parquet"),
        (("first", "dpo", "--out", str(tmp_path / "no" / "x.parquet")), "its folder does not exist"),
        (
            ("first", "dop", "--out", str(tmp_path / "x.jsonl")),
            "no result 'dop'; did you mean greedy/test/dpo",
        ),
        (("first", "sft:ceiling", "--out", str(tmp_path / "x.jsonl")), "neither grades nor responses"),
    ):
        error = write(folder, *words).exception
        assert isinstance(error, w2s.UserError)
        with pytest.raises(w2s.UserError, match=message):
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["taken.jsonl"]
    assert taken.read_text() == "mine"
