"""Reference answers are read as responses are; what cannot be read is counted, named and passed over."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from w2s_core.data.commands import data


def told(bench: Any, *arguments: object) -> str:
    """What a command that succeeds says on stderr."""
    done = CliRunner().invoke(data, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return str(done.stderr)


@pytest.mark.parametrize(
    ("task", "gold", "response", "right"),
    [
        ("gsm8k", "2+3=5\n#### 5", "#### 5", 1),
        ("gsm8k", "#### 1,080", "#### 1080", 1),
        ("gsm8k", "5", "2+3=5\n#### 5", 1),
        ("math", r"so $x = \boxed{\frac{1}{2}}$.", "The answer is: 0.5", 1),
        ("math", "Add. The answer is: 5", r"\boxed{5}", 1),
        ("choice", "The answer is (B).", "Answer: B", 1),
        ("gsm8k", "2+3=5\n#### 5", "#### 2", 0),
    ],
)
def test_a_gold_that_holds_the_marker_is_extracted(
    bench: Any, task: str, gold: str, response: str, right: int
) -> None:
    responses = bench.file("r.jsonl", [{"id": 1, "response": response}])
    golds = bench.file("g.jsonl", [{"id": 1, "gold": gold}])
    summary = bench.run("grade", "--task", task, "--responses", responses, "--gold", golds)
    assert (summary["right"], summary["graded"]) == (right, 1)


BAD = [" ", "$", "####", "so\n####", None, [5], True]


@pytest.mark.parametrize("bad", BAD)
def test_a_gold_that_cannot_be_read_is_counted_and_its_row_passed_over(
    bench: Any, hashes: Any, bad: object
) -> None:
    responses = bench.file("r.jsonl", hashes(a=5, b=6, c=7))
    golds = bench.file(
        "g.jsonl", [{"id": "a", "gold": "5"}, {"id": "b", "gold": bad}, {"id": "unasked", "gold": bad}]
    )
    command = ["grade", "--responses", responses, "--gold", golds, "--out", bench.folder / "out.jsonl"]
    summary = bench.run(*command)
    assert (summary["graded"], summary["right"]) == (1, 1)
    assert (summary["unreadable_gold"], summary["missing_gold"], summary["missing_response"]) == (1, 1, 1)
    assert [row["id"] for row in bench.rows("out.jsonl")] == ["a"]
    assert "2 gold answers cannot be read, and their rows are passed over; the first: " in told(
        bench, *command
    )
    assert "g.jsonl, line 2: " in told(bench, *command)


@pytest.mark.parametrize(
    ("number", "response", "right"),
    [
        ("0.1234567890123456789", "0.1234567890123456789", 1),
        ("0.1234567890123456789", "0.1234567890123456788", 0),
        ("12345678901234567890.5", "12345678901234567890.5", 1),
        ("1e400", "1e400", 1),
        ("1e400", "1e401", 0),
        ("5", "5", 1),
        ("-2.50", "-2.5", 1),
    ],
)
def test_a_number_keeps_its_digits(bench: Any, number: str, response: str, right: int) -> None:
    responses = bench.file("r.jsonl", [{"id": 1, "response": f"#### {response}"}])
    golds = bench.raw("g.jsonl", f'{{"id": 1, "gold": {number}}}\n'.encode())
    assert bench.run("grade", "--responses", responses, "--gold", golds)["right"] == right


@pytest.mark.parametrize(
    "line", ['{"id": 1, "gold": "5", "gold": "6"}', '{"id": 1, "gold": "5", "tag": {"a": 1, "a": 2}}']
)
def test_a_key_that_stands_twice_is_refused(bench: Any, line: str) -> None:
    responses = bench.file("r.jsonl", [{"id": 1, "response": "#### 5"}])
    golds = bench.raw("g.jsonl", line.encode())
    message = bench.refused("grade", "--responses", responses, "--gold", golds)
    key = "a" if "tag" in line else "gold"
    assert message == f"{golds}, line 1: the key '{key}' stands twice in one object"


def graded(bench: Any, *responses: str) -> str:
    rows = [{"id": i, "response": response} for i, response in enumerate(responses)]
    golds = [{"id": i, "gold": "5"} for i in range(len(responses))]
    files = bench.file("r.jsonl", rows), bench.file("g.jsonl", golds)
    return told(bench, "grade", "--responses", files[0], "--gold", files[1])


def test_many_unparsed_responses_of_one_kind_are_told_of_with_an_example(bench: Any) -> None:
    said = graded(bench, *["#### 5"] * 8, r"so \boxed{5}", r"hence \boxed{6}", "")
    assert r"2 of 11 responses of" in said
    assert r"end in \boxed{} instead of ####, and count as unparsed under task gsm8k" in said
    assert r"the first, id '8': 'so \\boxed{5}'" in said
    assert "are empty" not in said


def test_few_unparsed_responses_are_only_counted(bench: Any) -> None:
    assert "unparsed" not in graded(bench, *["#### 5"] * 20, r"so \boxed{5}")


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        ("", "are empty"),
        ("So it is 5.", "hold no marker of an answer"),
        ("The answer is 5", "say 'the answer is' instead of ####"),
        ("so\n####", "hold nothing readable behind the marker of an answer"),
    ],
)
def test_each_kind_of_unparsed_response(bench: Any, response: str, kind: str) -> None:
    assert kind in graded(bench, "#### 5", response)


def test_sides_and_samples_are_told_of_too(bench: Any, hashes: Any) -> None:
    weak, silent = bench.file("w.jsonl", hashes(a=5, b=5)), bench.file("i.jsonl", hashes(a=5, b=None))
    said = told(bench, "agree", "--weak", weak, "--icl", silent, "--out", bench.folder / "out")
    assert f"1 of 2 responses of {silent} hold no marker" in said
    said = told(bench, "pairs", "--weak", weak, "--samples", silent, "--out", bench.folder / "p")
    assert f"1 of 2 responses of {silent} hold no marker" in said


STRING = ["--match", "string"]


@pytest.mark.parametrize(
    ("task", "response", "gold", "right"),
    [
        ("math", "The answer is $\\boxed{5}$. The answer is: 6", "5", 1),
        ("math", "The answer is $\\boxed{5}$.\nThe answer is: 6", "6", 1),
        ("math", "the answer is $x = \\boxed{5}.$ The answer is: 6", "5", 1),
        ("math", "The answer is $(10, 2).$ The answer is: 7", "(10,2)", 1),
        ("math", "The answer is: 1,2", "12", 1),
        ("math", "The answer is: 0, 1, 2", "012", 1),
        ("math", "The answer is: 5", "5", 1),
        ("gsm8k", "#### 9, 16", "916", 1),
        ("gsm8k", "#### 5", "5", 1),
    ],
)
def test_strings_are_read_and_compared_as_in_the_release(
    bench: Any, task: str, response: str, gold: str, right: int
) -> None:
    files = (
        bench.file("r.jsonl", [{"id": 1, "response": response}]),
        bench.file("g.jsonl", [{"id": 1, "gold": gold}]),
    )
    command = ["grade", "--task", task, "--responses", files[0], "--gold", files[1]]
    assert bench.run(*command, *STRING)["right"] == right


def test_by_value_the_last_marker_counts(bench: Any) -> None:
    files = (
        bench.file("r.jsonl", [{"id": 1, "response": "The answer is $\\boxed{5}$. The answer is: 6"}]),
        bench.file("g.jsonl", [{"id": 1, "gold": "6"}]),
    )
    command = ["grade", "--task", "math", "--responses", files[0], "--gold", files[1]]
    assert bench.run(*command)["right"] == 1


def test_an_undecided_pair_is_a_count_of_its_own(bench: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "w2s_core.answers.pool.Pool.decide", lambda self, pairs: dict.fromkeys(pairs, "undecided")
    )
    files = (
        bench.file("r.jsonl", [{"id": 1, "response": "The answer is: x+1"}]),
        bench.file("g.jsonl", [{"id": 1, "gold": "1+x"}]),
    )
    sides = bench.file("i.jsonl", [{"id": 1, "response": "The answer is: 1+x"}])
    summary = bench.run("grade", "--task", "math", "--responses", files[0], "--gold", files[1])
    assert (summary["undecided"], summary["wrong"], summary["timed_out"]) == (1, 0, 0)
    out: Path = bench.folder / "out"
    summary = bench.run("agree", "--task", "math", "--weak", files[0], "--icl", sides, "--out", out)
    assert (summary["undecided"], summary["disagree"], summary["timed_out"]) == (1, 0, 0)
