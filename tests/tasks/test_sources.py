"""The same rows as JSON lines, as parquet and as a data set of the hub, under the same options."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from pyarrow import Table, parquet

from w2s_core.errors import UserError
from w2s_core.tasks import Problem, load_task
from w2s_core.tasks.sources import download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COLUMNS = {"question": "problem", "solution": "answer", "level": "steps"}
SPLITS = {"train_1": "train[:20]", "train_2": "train[20:35]", "dev": "train[35:]", "test": "test"}


def rows(n: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows whose `answer` is a worked solution, as GSM8K's is: read as our `answer`, it would be refused."""
    return [
        {
            "problem": f"What is {i} + 1?",
            "answer": f"{i}+1={i + 1}\n#### {i + 1}",
            "steps": i % 3,
            "source": "us",
        }
        for i in range(start, start + n)
    ]


PARTS = {"train": rows(40), "test": rows(5, 100)}


@pytest.fixture(params=["jsonl", "parquet", "hub"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The options that say where the rows lie."""
    download.cache_clear()
    if request.param == "hub":
        return hub_cache(tmp_path, monkeypatch)
    for name, part in PARTS.items():
        if request.param == "jsonl":
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
        else:
            parquet.write_table(Table.from_pylist(part), tmp_path / f"{name}.parquet")
    return {"data": str(tmp_path)}


def hub_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The hub's cache as its client leaves it, with a repository as `push_to_hub` writes it: no network is needed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "datasets")
    repository = folder / "hub" / "datasets--org--sums"
    data = repository / "snapshots" / COMMIT / "data"
    data.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name, part in PARTS.items():
        Dataset.from_list(part).to_parquet(data / f"{name}-00000-of-00001.parquet")
    return {"id": "org/sums", "revision": COMMIT}


def load(place: dict[str, str], split: str, **changes: Any) -> list[Problem]:
    options = {"answer": "number", "columns": COLUMNS, "splits": SPLITS}
    return load_task("dataset", place | options | changes).load(split)


def test_the_three_forms_give_the_same_problems(place: dict[str, str]) -> None:
    given = {split: load(place, split) for split in SPLITS}
    assert {split: len(part) for split, part in given.items()} == {
        "train_1": 20,
        "train_2": 15,
        "dev": 5,
        "test": 5,
    }
    expected = [PARTS["train"][i] for i in range(20, 35)]
    assert [(p.question, p.solution, p.level) for p in given["train_2"]] == [
        (row["problem"], row["answer"], row["steps"]) for row in expected
    ]
    assert [p.gold for p in given["test"]] == [str(i + 1) for i in range(100, 105)]


def test_a_column_that_is_not_there_is_one_line_with_those_that_are(place: dict[str, str]) -> None:
    with pytest.raises(
        UserError, match=r"train.*line 1: no field 'problems' \(did you mean 'problem'\?\)"
    ) as told:
        load(place, "train_1", columns=COLUMNS | {"question": "problems"})
    assert "\n" not in str(told.value)


def test_a_split_that_is_not_there_is_one_line(place: dict[str, str]) -> None:
    with pytest.raises(UserError, match="validation") as told:
        load(place, "dev", splits=SPLITS | {"dev": "validation"})
    assert "\n" not in str(told.value)


def test_another_commit_than_the_cached_one_is_refused_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = hub_cache(tmp_path, monkeypatch)
    assert load(place, "test")
    other = place | {"revision": COMMIT[::-1]}
    with pytest.raises(
        UserError, match=rf"task 'dataset': cannot get org/sums at {COMMIT[::-1]} from the hub"
    ) as told:
        load(other, "test")
    assert "\n" not in str(told.value)
    assert "local files: data: FOLDER" in str(told.value)


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "test.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"test.parquet: not a parquet file, or a damaged one \("):
        load({"data": str(tmp_path)}, "test")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id": "org/sums", "answer": "number"}, "option 'revision' is missing"),
        ({"id": "org sums", "revision": COMMIT, "answer": "number"}, "'id' must be ORG/NAME"),
        ({"id": "org/sums", "data": ".", "answer": "number"}, "one of the two"),
        ({"data": ".", "revision": COMMIT, "answer": "number"}, "'revision' belongs to id: ORG/NAME"),
        ({"data": ".", "answer": "number", "columns": {"questions": "a"}}, "did you mean 'question'"),
        ({"data": ".", "answer": "number", "columns": {"question": 3}}, "question must be a column's name"),
        (
            {"data": ".", "answer": "number", "splits": {"dev": "train[10%:]"}},
            r"dev must be a split or a slice",
        ),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=f"task 'dataset': .*{words}"):
        load_task("dataset", options)
