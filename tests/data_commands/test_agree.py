"""`data agree`: the filter on two files of responses."""

from typing import Any


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
    monkeypatch.setattr("w2s_core.grading.Grader.same", lambda *_: None)
    monkeypatch.setattr("w2s_core.grading.Grader.classes", lambda *_: [0, 1])
    rows = [{"id": 1, "response": "The answer is: x"}]
    weak, icl = bench.file("w.jsonl", rows), bench.file("i.jsonl", rows)
    summary = bench.run(
        "agree", "--task", "math", "--weak", weak, "--icl", icl, "--out", bench.folder / "out"
    )
    assert (summary["both"], summary["timed_out"]) == (1, 1)
    assert bench.rows("out/dropped.jsonl")[0]["reason"] == "timed_out"
