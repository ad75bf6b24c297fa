"""`data agree`: the filter on two files of responses."""

from typing import Any

import pytest


def test_kept_disagree_empty_and_missing_add_up(bench: Any, hashes: Any) -> None:
    weak = bench.file("w.jsonl", hashes(same=5, value="0.50", other=1, half=None, none=None, only_weak=1))
    icl = bench.file(
        "i.jsonl.gz", reversed(hashes(same=5, value="0.5", other=2, half=3, none=None, only_icl=1))
    )
    summary = bench.run("agree", "--weak", weak, "--icl", icl, "--out", bench.folder / "out")
    counts = {name: summary[name] for name in ("both", "kept", "disagree", "empty", "timed_out")}
    assert counts == {"both": 5, "kept": 2, "disagree": 1, "empty": 2, "timed_out": 0}
    assert (summary["missing_weak"], summary["missing_icl"]) == (1, 1)
    kept = {row["id"]: row for row in bench.rows("out/kept.jsonl")}
    assert set(kept) == {"same", "value"}
    assert kept["value"]["weak"].endswith("#### 0.50")
    assert kept["value"]["icl"].endswith("#### 0.5")
    dropped = {row["id"]: row["reason"] for row in bench.rows("out/dropped.jsonl")}
    assert dropped == {"other": "disagree", "half": "empty", "none": "empty"}


def test_by_string_the_released_behaviour(bench: Any, hashes: Any) -> None:
    weak, icl = bench.file("w.jsonl", hashes(a="0.50")), bench.file("i.jsonl", hashes(a="0.5"))
    summary = bench.run(
        "agree", "--weak", weak, "--icl", icl, "--out", bench.folder / "o", "--match", "string"
    )
    assert (summary["kept"], summary["disagree"]) == (0, 1)


def test_both_sides_may_stand_in_one_file(bench: Any) -> None:
    both = bench.file(
        "b.jsonl",
        [{"id": 1, "weak": "#### 2", "icl": "#### 2"}, {"id": 2, "weak": "#### 2", "icl": "#### 3"}],
    )
    sides = ["--weak", both, "--weak-field", "weak", "--icl", both, "--icl-field", "icl"]
    summary = bench.run("agree", *sides, "--out", bench.folder / "out")
    assert (summary["kept"], summary["disagree"], summary["missing_weak"], summary["missing_icl"]) == (
        1,
        1,
        0,
        0,
    )
    assert "no field 'wek' (did you mean 'weak'?)" in bench.refused(
        "agree", *sides[:2], "--weak-field", "wek", *sides[4:], "--out", bench.folder / "other"
    )


@pytest.mark.parametrize("match", ["value", "string"])
def test_what_value_and_string_decide_otherwise_is_listed(bench: Any, hashes: Any, match: str) -> None:
    weak = bench.file("w.jsonl", hashes(same=5, value="0.50", other=1, none=None))
    icl = bench.file("i.jsonl", hashes(same=5, value="0.5", other=2, none=None))
    listed = bench.folder / "d.jsonl"
    sides = ["--weak", weak, "--icl", icl, "--match", match, "--differences", listed]
    summary = bench.run("agree", *sides, "--out", bench.folder / "out")
    assert summary["differences"] == 1
    answers = {"weak_answer": "0.50", "icl_answer": "0.5"}
    assert bench.rows("d.jsonl") == [{"id": "value", **answers, "by_value": "kept", "by_string": "disagree"}]


def test_differences_do_not_overwrite_an_input(bench: Any, hashes: Any) -> None:
    weak, icl = bench.file("w.jsonl", hashes(a=5)), bench.file("i.jsonl", hashes(a=5))
    said = bench.refused(
        "agree", "--weak", weak, "--icl", icl, "--out", bench.folder / "o", "--differences", icl
    )
    assert "is an input" in said


def test_the_question_is_carried_along(bench: Any) -> None:
    weak = bench.file("w.jsonl", [{"id": 1, "question": "How many?", "response": "#### 2"}])
    icl = bench.file("i.jsonl", [{"id": 1, "response": "#### 2"}])
    bench.run("agree", "--weak", weak, "--icl", icl, "--out", bench.folder / "out")
    assert bench.rows("out/kept.jsonl")[0]["question"] == "How many?"


def test_kept_rows_grade_and_a_second_run_replaces(bench: Any, hashes: Any) -> None:
    weak, icl = bench.file("w.jsonl", hashes(a=1)), bench.file("i.jsonl", hashes(a=1))
    command = ["agree", "--weak", weak, "--icl", icl, "--out", bench.folder / "out"]
    assert bench.run(*command) == bench.run(*command)
    assert sorted(path.name for path in (bench.folder / "out").iterdir()) == ["dropped.jsonl", "kept.jsonl"]


def test_an_undecided_comparison_is_a_count_of_its_own(bench: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("w2s_core.answers.grading.Grader.same", lambda *_: None)
    monkeypatch.setattr("w2s_core.answers.grading.Grader.classes", lambda *_: [0, 1])
    rows = [{"id": 1, "response": "The answer is: x"}]
    weak, icl = bench.file("w.jsonl", rows), bench.file("i.jsonl", rows)
    summary = bench.run(
        "agree", "--task", "math", "--weak", weak, "--icl", icl, "--out", bench.folder / "out"
    )
    assert (summary["both"], summary["timed_out"]) == (1, 1)
    assert bench.rows("out/dropped.jsonl")[0]["reason"] == "timed_out"
