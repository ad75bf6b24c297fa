"""MATH: the layouts it comes in, its halves, and every row that cannot be used."""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.answers.grading import Grader
from w2s_core.errors import UserError
from w2s_core.tasks import Task, load_task
from w2s_core.tasks.math import SUBJECTS, hash_of, held_out

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"


def write(folder: Path, name: str, rows: Iterable[Any]) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def problems(n: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows with the fields of the hub's data set."""
    return [
        {
            "problem": f"Compute ${i} + \\frac{{1}}{{2}}$.",
            "solution": f"It is $\\boxed{{\\frac{{{2 * i + 1}}}{{2}}}}$.",
            "answer": f"\\frac{{{2 * i + 1}}}{{2}}",
            "subject": SUBJECTS[i % len(SUBJECTS)],
            "level": i % 5 + 1,
            "unique_id": f"train/{i}.json",
        }
        for i in range(start, start + n)
    ]


def task(folder: Path, **options: Any) -> Task:
    return load_task("math", {"data": str(folder), **options})


def test_a_solution_ends_in_the_answer_as_in_the_papers_training_data(tmp_path: Path) -> None:
    write(tmp_path, "train_1", problems(2))
    first, second = task(tmp_path).load("train_1")
    assert first.solution == "It is $\\boxed{\\frac{1}{2}}$. The answer is: \\frac{1}{2}"
    assert (first.gold, first.level, first.id, first.template) == (
        "\\frac{1}{2}",
        1,
        "train_1-00000",
        "train_1-00000",
    )
    assert second.level == 2


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "q", "solution": "so $\\boxed{7}$", "level": "Level 3", "type": "Algebra"},
        {"question": "q", "solution": "so $\\boxed{7}$", "gold": "7", "level": 3, "id": 12},
        {"question": "q", "solution": "so $\\boxed{7}$", "answer": "7", "tag": {"level": 3}},
        {"problem": "q", "solution": "so $\\boxed{7}$ The answer is: 7", "answer": "7", "level": 3},
    ],
)
def test_the_layouts_of_the_archive_of_the_release_and_of_the_test_file(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    write(tmp_path, "test", [row])
    (one,) = task(tmp_path).load("test")
    assert (one.question, one.gold, one.level) == ("q", "7", 3)
    assert one.solution == "so $\\boxed{7}$ The answer is: 7"


def test_a_test_row_may_have_its_answer_only_and_a_level_may_be_unknown(tmp_path: Path) -> None:
    write(tmp_path, "test", [{"problem": "q", "answer": "x^2", "level": "Level ?"}])
    (one,) = task(tmp_path).load("test")
    assert (one.gold, one.solution, one.level) == ("x^2", "The answer is: x^2", 0)


def test_one_training_file_is_halved_by_questions(tmp_path: Path) -> None:
    rows = problems(61)
    write(tmp_path, "train", [*rows, *rows[:10]])  # ten questions stand twice
    one, other = ({p.question for p in task(tmp_path).load(split)} for split in ("train_1", "train_2"))
    assert (len(one), len(other)) == (31, 30)
    assert one | other == {row["problem"] for row in rows}
    assert max(map(hash_of, one)) < min(map(hash_of, other))
    counts = [len(task(tmp_path).load(split)) for split in ("train_1", "train_2")]
    assert sum(counts) == 71, "no row is lost"


def test_the_order_of_the_file_does_not_move_a_question(tmp_path: Path) -> None:
    halves = []
    for name, rows in (("a", problems(30)), ("b", problems(30)[::-1])):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "train", rows)
        halves.append({one.question for one in task(tmp_path / name).load("train_1")})
    assert halves[0] == halves[1]


def test_given_halves_are_read_as_they_stand(tmp_path: Path) -> None:
    write(tmp_path, "train", problems(9, start=100))
    write(tmp_path, "train_1", problems(5))
    assert len(task(tmp_path).load("train_1")) == 5
    with pytest.raises(UserError, match=r"no train_2.jsonl"):  # not a half of train: it could hold train_1's
        task(tmp_path).load("train_2")


def test_dev_is_taken_out_of_train_1(tmp_path: Path) -> None:
    write(tmp_path, "train", problems(80))
    whole = {one.id for one in task(tmp_path).load("train_1")}
    dev, rest = ({one.id for one in task(tmp_path, dev=10).load(split)} for split in ("dev", "train_1"))
    assert len(dev) == 10
    assert dev | rest == whole
    assert not dev & rest
    with pytest.raises(UserError, match="leaves nothing of the 40 questions"):
        task(tmp_path, dev=40).load("dev")


@given(st.lists(st.text(min_size=1), min_size=2, max_size=30), st.data())
def test_held_out_parts_any_questions_without_loss(texts: list[str], data: st.DataObject) -> None:
    from w2s_core.tasks import Problem

    made = [Problem(str(i), text, "1", "1", 1, str(i)) for i, text in enumerate(texts)]
    count = data.draw(st.integers(0, len(made) - 1))
    held, rest = held_out("any", made, count)
    assert len(held) == count
    assert sorted([*held, *rest], key=lambda one: int(one.id)) == made
    if held:
        assert max(hash_of(p.question) for p in held) <= min(hash_of(p.question) for p in rest)


def test_subjects_select_questions(tmp_path: Path) -> None:
    write(tmp_path, "test", problems(21))
    chosen = task(tmp_path, subjects=["Algebra", "Geometry"]).load("test")
    assert {one.question for one in chosen} == {
        row["problem"] for row in problems(21) if row["subject"] in ("Algebra", "Geometry")
    }
    write(tmp_path, "test", problems(1))
    with pytest.raises(UserError, match="split 'test' has no question of Geometry"):
        task(tmp_path, subjects=["Geometry"]).load("test")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"solution": "\\boxed{1}"}, "a row needs the text 'problem' (or 'question')"),
        ({"problem": "q"}, "a row needs the text 'solution'"),
        ({"problem": "q", "answer": "1"}, "a row needs the text 'solution'"),
        ({"problem": "q", "solution": "no end"}, "the solution has none in \\boxed{}"),
        ({"problem": "q", "solution": "s", "answer": 3}, "must be texts"),
        ({"problem": "q", "solution": "s", "answer": "9" * 600}, "cannot be read back"),
        ({"problem": "q", "solution": "s", "answer": " "}, "cannot be read back"),
        ({"problem": "q", "solution": "\\boxed{1}", "level": 6}, "'level' must be 1 to 5"),
        ({"problem": "q", "solution": "\\boxed{1}", "level": True}, "'level' must be 1 to 5"),
        ([1], "must be a JSON object"),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(tmp_path: Path, row: Any, message: str) -> None:
    write(tmp_path, "train_1", [*problems(1), row])
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        task(tmp_path).load("train_1")
    assert "train_1.jsonl, line 2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either data: FOLDER (local files) or revision: COMMIT"),
        ({"data": "x", "revision": "y"}, "give either data"),
        ({"data": "x", "dev": -1}, "option 'dev' must be 0 or more"),
        ({"data": "x", "dev": "5"}, "option 'dev' must be of type int"),
        ({"data": "x", "subject": []}, "did you mean 'subjects'"),
        ({"data": "x", "subjects": ["Algebrra"]}, "unknown subject 'Algebrra'; did you mean 'Algebra'"),
    ],
)
def test_a_bad_option_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_task("math", options)


def test_a_row_without_a_subject_cannot_be_selected_by_one(tmp_path: Path) -> None:
    write(tmp_path, "test", [{"problem": "q", "answer": "1"}])
    with pytest.raises(UserError, match=r"line 1: option 'subjects' needs a 'subject'"):
        task(tmp_path, subjects=["Algebra"]).load("test")


def test_the_hub_is_halved_too_and_has_no_dev_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    calls = []

    def serve(folder: str, config: None, *, split: str) -> list[dict[str, Any]]:
        calls.append((*folder.split("@"), split))
        return problems(50) if split == "train" else problems(5, start=900)

    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, *, repo_type, revision: f"{name}@{revision}"
    )
    monkeypatch.setattr(datasets, "load_dataset", serve)
    hub = load_task("math", {"revision": "halves", "dev": 5})
    parts = {split: {p.question for p in hub.load(split)} for split in ("train_1", "train_2", "dev", "test")}
    assert {name: len(part) for name, part in parts.items()} == {
        "train_1": 20,
        "train_2": 25,
        "dev": 5,
        "test": 5,
    }
    assert len(set.union(*parts.values())) == 55
    assert {call[:2] for call in calls} == {("nlile/hendrycks-MATH-benchmark", "halves")}
    with pytest.raises(UserError, match="has no dev set"):
        load_task("math", {"revision": "halves"}).load("dev")


def test_a_hub_that_says_no_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("offline mode is enabled\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        UserError, match=r"task 'math': cannot get .* from the hub \(offline mode is enabled\)"
    ):
        load_task("math", {"revision": "refused"}).load("test")


def test_the_released_test_set_loads_whole_and_every_gold_is_right(tmp_path: Path) -> None:
    released = REFERENCE / "math_test.jsonl.gz"
    if not released.is_file():
        pytest.skip(f"the released data is not there ({REFERENCE})")
    (tmp_path / "test.jsonl.gz").symlink_to(released)
    with gzip.open(released, "rt") as file:
        rows = [json.loads(line) for line in file]
    loaded = task(tmp_path).load("test")
    assert [(one.gold, one.level, one.id) for one in loaded] == [
        (row["gold"], row["level"], str(row["id"])) for row in rows
    ]
    with Grader("math") as grader:
        verdicts = grader.grade([(one.gold, row["gold"]) for one, row in zip(loaded, rows, strict=True)])
    assert set(verdicts) == {"right"}
