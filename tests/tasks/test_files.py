"""Tasks read from files: GSM8K's layouts, anyone's JSONL, and every row that cannot be used."""

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from w2s_core.answers.extract import extract
from w2s_core.answers.grading import Grader
from w2s_core.data.command_rows import Golds
from w2s_core.data.splits import load_splits
from w2s_core.errors import UserError
from w2s_core.tasks import Task, load_task

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"


def write(folder: Path, split: str, rows: list[Any]) -> Path:
    path = folder / f"{split}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def questions(n: int, start: int = 0) -> list[dict[str, str]]:
    return [
        {"question": f"What is {i} + 1?", "answer": f"{i}+1=<<{i}+1={i + 1}>>\n#### {i + 1}"}
        for i in range(start, n)
    ]


def gsm8k(folder: Path, **options: Any) -> Task:
    return load_task("gsm8k", {"data": str(folder), **options})


def test_gsm8k_reads_the_layout_of_the_hub_and_that_of_the_release(tmp_path: Path) -> None:
    write(tmp_path, "train_1", questions(3))
    released = [
        {"id": 7, "source_id": "aug_7", "question": "q", "solution": "a\nb\n#### 1,234", "gold": "1234"}
    ]
    write(tmp_path, "train_2", released)
    task = gsm8k(tmp_path)
    first = task.load("train_1")[1]
    assert (first.id, first.gold, first.level) == ("train_1-00001", "2", 1)
    (other,) = task.load("train_2")
    assert (other.id, other.gold, other.level, other.template) == ("7", "1,234", 2, "7")


def test_dev_is_taken_out_of_train_1(tmp_path: Path) -> None:
    write(tmp_path, "train_1", questions(40))
    whole = {one.id for one in gsm8k(tmp_path).load("train_1")}
    dev = {one.id for one in gsm8k(tmp_path, dev=10).load("dev")}
    rest = {one.id for one in gsm8k(tmp_path, dev=10).load("train_1")}
    assert len(dev) == 10
    assert dev | rest == whole
    assert not dev & rest
    assert {one.id for one in gsm8k(tmp_path, dev=20).load("dev")} > dev, "more of them keeps those that were"
    with pytest.raises(UserError, match="leaves nothing of the 40 questions"):
        gsm8k(tmp_path, dev=40).load("train_1")


def test_files_may_be_packed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "test.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in questions(2)))
    assert len(gsm8k(tmp_path).load("test")) == 2


BAD_ROWS: list[tuple[Any, str]] = [
    (
        {"question": "q", "answer": "no mark"},
        r"train_1.jsonl, line 2: the solution has no final answer after ####",
    ),
    ({"question": "q"}, r"line 2: a row needs the texts 'question' and 'answer'"),
    ({"question": 3, "answer": "#### 1"}, r"line 2: a row needs the texts"),
    ([1], r"line 2"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row_is_one_line_with_its_place(tmp_path: Path, row: Any, message: str) -> None:
    write(tmp_path, "train_1", [*questions(1), row])
    with pytest.raises(UserError, match=message) as caught:
        gsm8k(tmp_path).load("train_1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gsm8k", {}, r"give either data: FOLDER \(local files\) or revision: COMMIT"),
        ("gsm8k", {"data": "x", "revision": "y"}, r"give either data"),
        ("gsm8k", {"data": 3}, r"option 'data' must be of type str \(given: 3\)"),
        ("gsm8k", {"data": "x", "dve": 3}, r"unknown option 'dve'; did you mean 'dev'"),
        ("jsonl", {"data": "x"}, r"option 'answer' is missing"),
        ("jsonl", {"data": "x", "answer": "numbers"}, r"numbers"),
    ],
)
def test_a_bad_option_is_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task(name, options)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no test.jsonl \(or .jsonl.gz\) in "):
        gsm8k(tmp_path).load("test")


def test_a_hub_that_says_no_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("offline mode is enabled\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        UserError, match=r"cannot get openai/gsm8k at abc from the hub \(offline mode is enabled\)"
    ):
        load_task("gsm8k", {"revision": "abc"}).load("test")


def test_the_hub_splits_are_disjoint_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    rows = questions(200)
    calls = []

    def serve(folder: str, config: str, *, split: str) -> list[dict[str, str]]:
        calls.append((*folder.split("@"), config, split))
        return rows

    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, *, repo_type, revision: f"{name}@{revision}"
    )
    monkeypatch.setattr(datasets, "load_dataset", serve)
    task = load_task("gsm8k", {"revision": "def", "dev": 20})
    parts = {split: {one.question for one in task.load(split)} for split in ("train_1", "train_2", "dev")}
    assert sum(map(len, parts.values())) == 200
    assert set.union(*parts.values()) == {row["question"] for row in rows}
    assert len(parts["dev"]) == 20
    assert set(calls) == {("openai/gsm8k", "def", "main", "train")}
    with pytest.raises(UserError, match="has no dev set"):
        load_task("gsm8k", {"revision": "def"}).load("dev")


@pytest.mark.parametrize(
    ("kind", "rule", "answers"),
    [
        ("number", "gsm8k", ["12", "1,200"]),
        ("text", "gsm8k", ["blue whale", "unknown"]),
        ("expression", "math", [r"\\frac{1}{2}", "x^2"]),
        ("choice", "choice", ["B", "AC"]),
    ],
)
def test_jsonl_kinds_of_answers(tmp_path: Path, kind: str, rule: str, answers: list[str]) -> None:
    write(tmp_path, "test", [{"question": f"q{i}", "answer": one} for i, one in enumerate(answers)])
    task = load_task("jsonl", {"data": str(tmp_path), "answer": kind})
    assert task.answer_rule == rule
    problems = task.load("test")
    with Grader(rule) as grader:
        pairs = [(extract(one.solution, rule), one.gold) for one in problems]
        assert [str(verdict) for verdict in grader.grade(pairs)] == ["right"] * len(answers)


def test_jsonl_takes_answers_or_solutions(tmp_path: Path) -> None:
    write(tmp_path, "train_1", [{"question": "q", "solution": "so\nThe answer is: \\frac{1}{2}", "level": 3}])
    write(tmp_path, "test", [{"id": "a", "question": "q", "answer": 0.5, "template": "t"}])
    task = load_task("jsonl", {"data": str(tmp_path), "answer": "math"})
    (trained,), (tested,) = task.load("train_1"), task.load("test")
    assert (trained.gold, trained.level) == ("\\frac{1}{2}", 3)
    assert (tested.id, tested.gold, tested.solution, tested.template) == (
        "a",
        "0.5",
        "The answer is: 0.5",
        "t",
    )


JSONL_GOLDS = [
    ({"answer": "2+3=5\n#### 5"}, "5"),
    ({"answer": "5"}, "5"),
    ({"answer": 5}, "5"),
    ({"solution": "2+3=5\n#### 5"}, "5"),
    ({"solution": "2+3=5\n#### 5", "answer": "5.0"}, "5.0"),
    ({"solution": "2+3=5\n#### 5", "answer": "2+3=5\n#### 5"}, "5"),
]


@pytest.mark.parametrize(("fields", "gold"), JSONL_GOLDS)
def test_a_jsonl_gold_is_read_as_a_response_is(tmp_path: Path, fields: dict[str, Any], gold: str) -> None:
    write(tmp_path, "test", [{"question": "2+3?", **fields}])
    (problem,) = load_task("jsonl", {"data": str(tmp_path), "answer": "gsm8k"}).load("test")
    assert problem.gold == gold
    assert (
        problem.solution.endswith(f"#### {fields.get('solution', gold)[-1]}")
        or problem.solution == f"#### {gold}"
    )


def test_a_jsonl_number_keeps_its_digits(tmp_path: Path) -> None:
    digits = "0.1234567890123456789"
    (tmp_path / "test.jsonl").write_text(f'{{"question": "q", "answer": {digits}}}\n')
    (problem,) = load_task("jsonl", {"data": str(tmp_path), "answer": "number"}).load("test")
    assert problem.gold == digits


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question": " ", "answer": "5"}, "line 1: 'question' is empty"),
        ({"question": "q", "answer": "####"}, "line 1: no final answer in 'answer'"),
        ({"question": "q", "answer": " "}, "line 1: no final answer in 'answer'"),
        (
            {"question": "q", "answer": "6", "solution": "2+3=5\n#### 5"},
            "line 1: 'answer' says '6', and 'solution' ends in '5'; they must agree",
        ),
        ({"question": "q", "gold": "####"}, "line 1: no final answer in 'gold'"),
        (
            {"question": "q", "answer": "6", "gold": "5"},
            "line 1: 'answer' says '6' and 'gold' says '5'; they are two names of one field",
        ),
    ],
)
def test_a_jsonl_row_that_contradicts_itself_is_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    write(tmp_path, "test", [fields])
    with pytest.raises(UserError, match=message):
        load_task("jsonl", {"data": str(tmp_path), "answer": "gsm8k"}).load("test")


@pytest.mark.parametrize(
    "fields",
    [{"answer": "1/2"}, {"gold": "1/2"}, {"answer": "0.5", "gold": "1/2"}, {"answer": None, "gold": 0.5}],
)
def test_the_gold_answer_of_a_file_may_have_either_name_in_a_task_and_in_data_grade(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    write(tmp_path, "test", [{"id": "a", "question": "2 / 4?", **fields}])
    (problem,) = load_task("jsonl", {"data": str(tmp_path), "answer": "number"}).load("test")
    assert float(Fraction(problem.gold)) == 0.5
    assert Golds(tmp_path / "test.jsonl", "gsm8k").answers == {"a": problem.gold}


def test_columns_may_name_the_gold_answer_by_either_name(tmp_path: Path) -> None:
    write(tmp_path, "test", [{"asked": "2+3?", "target": "5"}])
    for name in ("answer", "gold"):
        columns = {"question": "asked", name: "target"}
        task = load_task("jsonl", {"data": str(tmp_path), "answer": "number", "columns": columns})
        assert [problem.gold for problem in task.load("test")] == ["5"]


@pytest.mark.parametrize(
    ("split", "row", "message"),
    [
        ("train_1", {"question": "q", "answer": "1"}, r"line 1: no field 'solution'"),
        ("test", {"question": "q"}, r"line 1: neither 'answer' nor 'solution'"),
        (
            "test",
            {"question": "q", "solution": "no end"},
            r"no final answer after '####' that rule 'gsm8k' can read",
        ),
        ("test", {"question": "q", "answer": ""}, r"no final answer"),
        ("test", {"question": "q", "answer": "1", "level": "hard"}, r"'level' must be a whole number"),
        ("test", {"answer": "1"}, r"no field 'question'"),
    ],
)
def test_a_bad_jsonl_row_is_one_line(tmp_path: Path, split: str, row: dict[str, Any], message: str) -> None:
    write(tmp_path, split, [row])
    with pytest.raises(UserError, match=message):
        load_task("jsonl", {"data": str(tmp_path), "answer": "gsm8k"}).load(split)


def test_the_released_gsm8k_loads_whole_and_its_gold_is_what_it_says(tmp_path: Path) -> None:
    files = {name: REFERENCE / f"gsm8k_{name}.jsonl.gz" for name in ("train_1", "train_2", "test")}
    if not all(path.is_file() for path in files.values()):
        pytest.skip(f"the released data is not there ({REFERENCE})")
    for name, path in files.items():
        (tmp_path / f"{name}.jsonl.gz").symlink_to(path)
    splits = load_splits("gsm8k", {"data": str(tmp_path)}, "report", ["train_1", "train_2", "test"])
    assert {name: len(rows) for name, rows in splits.problems.items()} == {
        "train_1": 7000,
        "train_2": 7000,
        "test": 1319,
    }
    for name, path in files.items():
        with gzip.open(path, "rt") as file:
            golds = [json.loads(line)["gold"].replace(",", "") for line in file]
        assert [one.gold.replace(",", "") for one in splits.problems[name]] == golds
    between = [one for one in splits.duplicates if {one.split, one.first_split} == {"train_1", "train_2"}]
    assert len(between) >= 279
