"""`data grade`: counts that add up, joined by id."""

import json
import subprocess
import sys
from typing import Any

import pytest


def typed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What a user sees who types the command."""
    command = [sys.executable, "-m", "w2s_core.cli", "data", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_each_verdict_and_each_side_missing(bench: Any, hashes: Any) -> None:
    responses = bench.file("r.jsonl", hashes(a="1,000", b=5, c=None, stray=1))
    gold = bench.file(
        "g.jsonl", [{"id": i, "gold": g} for i, g in (("lost", "9"), ("c", "7"), ("b", "6"), ("a", "1000"))]
    )
    summary = bench.run(
        "grade", "--responses", responses, "--gold", gold, "--out", bench.folder / "out.jsonl"
    )
    assert (summary["right"], summary["wrong"], summary["unparsed"], summary["timed_out"]) == (1, 1, 1, 0)
    assert (summary["graded"], summary["missing_gold"], summary["missing_response"]) == (3, 1, 1)
    assert summary["share_right"] == pytest.approx(1 / 3)
    assert [(row["id"], row["verdict"]) for row in bench.rows("out.jsonl")] == [
        ("a", "right"), ("b", "wrong"), ("c", "unparsed")
    ]  # fmt: skip


def test_the_response_may_stand_in_another_field(bench: Any) -> None:
    rows = bench.file("r.jsonl", [{"id": 1, "chosen": "#### 5", "rejected": "#### 6", "gold": "5"}])
    for field, right in (("chosen", 1), ("rejected", 0)):
        summary = bench.run("grade", "--responses", rows, "--gold", rows, "--field", field)
        assert (summary["graded"], summary["right"]) == (1, right)


def test_gold_comes_from_a_solution_or_a_number(bench: Any, hashes: Any) -> None:
    responses = bench.file("r.jsonl", hashes(a=5, b=2.5, c=3))
    gold = bench.file(
        "g.jsonl",
        [
            {"id": "a", "solution": "2+3\n#### 5"},
            {"id": "b", "gold": 2.5},
            {"id": "c", "gold": None, "solution": "#### 3"},
        ],
    )
    assert bench.run("grade", "--responses", responses, "--gold", gold)["right"] == 3


@pytest.mark.parametrize(("match", "right"), [("value", 2), ("string", 1)])
def test_match_by_value_or_as_strings(bench: Any, hashes: Any, match: str, right: int) -> None:
    responses = bench.file("r.jsonl", hashes(a="0.50", b="7"))
    gold = bench.file("g.jsonl", [{"id": "a", "gold": "0.5"}, {"id": "b", "gold": "7"}])
    assert bench.run("grade", "--responses", responses, "--gold", gold, "--match", match)["right"] == right


def test_math_and_choice(bench: Any) -> None:
    math = bench.file("m.jsonl", [{"id": 1, "response": "The answer is: $(x+1)^2$"}])
    gold = bench.file("mg.jsonl", [{"id": 1, "gold": "x^2+2x+1"}])
    assert bench.run("grade", "--task", "math", "--responses", math, "--gold", gold)["right"] == 1
    choice = bench.file("c.jsonl", [{"id": 1, "response": "The answer is (B)."}])
    gold = bench.file("cg.jsonl", [{"id": 1, "gold": "B"}])
    assert bench.run("grade", "--task", "choice", "--responses", choice, "--gold", gold)["right"] == 1


def test_a_number_and_its_text_are_one_id(bench: Any) -> None:
    responses = bench.file("r.jsonl", [{"id": 7, "response": "#### 1"}])
    gold = bench.file("g.jsonl", [{"id": "7", "gold": "1"}])
    assert bench.run("grade", "--responses", responses, "--gold", gold)["right"] == 1


def test_a_wrong_task_is_pointed_out(bench: Any, hashes: Any) -> None:
    responses = bench.file("r.jsonl", hashes(a=5))
    gold = bench.file("g.jsonl", [{"id": "a", "gold": "5"}])
    done = typed("grade", "--task", "math", "--responses", responses, "--gold", gold)
    assert done.returncode == 0
    assert "final answer under task math" in done.stderr
    assert json.loads(done.stdout)["unparsed"] == 1


def test_a_mistake_is_one_line_and_status_2(bench: Any) -> None:
    bad = bench.raw("bad.jsonl", b'{"id": 1}\n{"id": \n')
    done = typed("grade", "--responses", bad, "--gold", bad)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("w2s: ")
    assert "bad.jsonl, line 1: no field 'answer'" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_torch_is_loaded() -> None:
    code = "import sys, w2s_core.data.commands; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
