"""OlympicArena: which rows belong to the task, the forms of their answers, and what is refused."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from w2s_core.answers.extract import extract
from w2s_core.answers.grading import Grader
from w2s_core.errors import UserError
from w2s_core.tasks import load_task
from w2s_core.tasks.olympicarena import OlympicArenaTask


def write(folder: Path, name: str, rows: Iterable[Any]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(**fields: Any) -> dict[str, Any]:
    """A row with the fields of the data set that the task reads."""
    made = {
        "id": "Physics_7",
        "problem": "How far?",
        "prompt": "You are in a Physics competition.\n\nproblem:\nHow far?",
        "answer_type": "NV",
        "answer": ["12"],
        "unit": ["m"],
        "language": "EN",
        "subject": "Physics",
        "solution": None,
    }
    return made | fields


def task(folder: Path, **options: Any) -> OlympicArenaTask:
    loaded = load_task("olympicarena", {"data": str(folder), **options})
    assert isinstance(loaded, OlympicArenaTask)
    return loaded


def test_val_is_test_and_test_is_train_2(tmp_path: Path) -> None:
    write(tmp_path, "val", [row(id="Physics_1")])
    write(tmp_path, "test", [row(id="Physics_2")])
    write(tmp_path, "train_1", [{"problem": "q", "solution": "Because.", "answer": "3"}])
    assert [one.id for one in task(tmp_path).load("test")] == ["Physics_1"]
    assert [one.id for one in task(tmp_path).load("train_2")] == ["Physics_2"]
    (taught,) = task(tmp_path).load("train_1")
    assert taught.solution == "Because.\nThe final answer is $\\boxed{3}$"
    assert (taught.id, taught.template, taught.level) == ("train_1-00000", "train_1-00000", 0)


def test_the_prompt_is_the_question_and_the_problem_where_there_is_none(tmp_path: Path) -> None:
    write(tmp_path, "val", [row(), row(id="other", prompt=None)])
    first, second = task(tmp_path).load("test")
    assert first.question == "You are in a Physics competition.\n\nproblem:\nHow far?"
    assert second.question == "How far?"


FORMS: list[tuple[str, Any, str, str, str]] = [
    ("SC", ["B"], "B", "(B)", "C"),
    ("SC", "B", "B", "\\text{B}", "A"),
    ("MC", ["C", "A"], "A, C", "A,C", "A"),
    ("TF", ["True"], "True", "\\text{True}", "False"),
    ("NV", ["$0.50$"], "0.50", "\\frac{1}{2}", "0.05"),
    ("EX", ["2x+2"], "2x+2", "2(x+1)", "2x+1"),
    ("SET", ["3", "1"], "3, 1", "1, 3", "1, 2"),
    ("MA", ["5", "7"], "5, 7", "7, 5", "5"),
    ("TUP", ["(1, 2)"], "(1, 2)", "(1,2)", "(1,3)"),
]
"""Answer type, answer, gold, another way to write it, and a wrong answer."""


def test_choices_and_free_forms_are_read_back_and_graded(tmp_path: Path) -> None:
    write(tmp_path, "val", [row(id=i, answer_type=form[0], answer=form[1]) for i, form in enumerate(FORMS)])
    loaded = task(tmp_path).load("test")
    assert [one.gold for one in loaded] == [form[2] for form in FORMS]
    for which, verdict in ((3, "right"), (4, "wrong")):
        responses = [f"So.\nThe final answer is $\\boxed{{{form[which]}}}$." for form in FORMS]
        with Grader("math") as grader:
            pairs = [(extract(said, "math"), one.gold) for said, one in zip(responses, loaded, strict=True)]
            assert grader.grade(pairs) == [verdict] * len(FORMS)


def test_other_languages_programs_and_subjects_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        row(id="a"),
        row(id="b", language="ZH"),
        row(id="c", answer_type="CODE", answer=None),
        row(id="d", answer_type="OT"),
        row(id="e", subject="CS"),
        row(id="f", subject="Biology"),
    ]
    write(tmp_path, "val", rows)
    assert [one.id for one in task(tmp_path).load("test")] == ["a", "f"]
    assert task(tmp_path).left_out("test") == {
        "not in English": 1,
        "a program": 1,
        "an answer that only a reader can grade": 1,
        "of another subject": 1,
    }
    assert [one.id for one in task(tmp_path, subjects=["Biology"]).load("test")] == ["f"]
    with pytest.raises(UserError, match=r"val.jsonl in .* has no row to use \(1 a program"):
        task(tmp_path, subjects=["Astronomy"]).load("test")


@pytest.mark.parametrize("answer", [None, [], "", [""], [None]])
def test_a_row_without_an_answer_is_refused_and_train_2_says_why(tmp_path: Path, answer: Any) -> None:
    write(tmp_path, "test", [row(answer=answer)])
    with pytest.raises(UserError, match=r"test.jsonl, line 1: no 'answer' \(OlympicArena holds those"):
        task(tmp_path).load("train_2")
    write(tmp_path, "val", [row(answer=answer)])
    with pytest.raises(UserError, match=r"val.jsonl, line 1: no 'answer'$"):
        task(tmp_path).load("test")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(answer_type="SX"), "unknown answer_type 'SX'; did you mean"),
        (row(prompt=None, problem=None), "'problem' must be text"),
        (row(prompt=None, problem=" "), "'problem' is empty"),
        (row(solution=["s"]), "'solution' must be text"),
        (row(answer="}{" * 300), "cannot be read back"),
        ([1], "must be a JSON object"),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(tmp_path: Path, bad: Any, message: str) -> None:
    write(tmp_path, "val", [row(id="fine"), bad])
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        task(tmp_path).load("test")
    assert "val.jsonl, line 2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_train_1_needs_solutions_to_learn_from(tmp_path: Path) -> None:
    write(tmp_path, "train_1", [{"problem": "q", "answer": "3"}])
    with pytest.raises(UserError, match=r"train_1.jsonl, line 1: no field 'solution'"):
        task(tmp_path).load("train_1")


def test_dev_is_taken_out_of_train_1(tmp_path: Path) -> None:
    write(
        tmp_path, "train_1", [{"problem": f"q {i}", "solution": "s", "answer": str(i + 1)} for i in range(9)]
    )
    dev, rest = ({one.id for one in task(tmp_path, dev=3).load(split)} for split in ("dev", "train_1"))
    assert (len(dev), len(rest), len(dev | rest)) == (3, 6, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "option 'data' is missing"),
        ({"data": "x", "subjects": ["Phisics"]}, "unknown subject 'Phisics'; did you mean 'Physics'"),
        ({"data": "x", "subjects": ["CS"]}, "unknown subject 'CS'; known: Math"),
        ({"data": "x", "dve": 3}, "unknown option 'dve'; did you mean 'dev'"),
        ({"data": "x", "dev": -3}, "option 'dev' must be 0 or more"),
    ],
)
def test_a_bad_option_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_task("olympicarena", options)
