"""The splits of a run: the leak gate finds, drops or refuses copies, and gold stays apart from questions."""

import dataclasses
from collections.abc import Iterator

import pytest

from w2s_core.data import splits as data
from w2s_core.data.splits import gold_rows, load_splits, question_rows, rows_digest
from w2s_core.errors import UserError
from w2s_core.tasks import Problem


def problem(name: str, question: str, gold: str = "1") -> Problem:
    return Problem(id=name, question=question, gold=gold, solution=f"#### {gold}", level=1, template="t")


SPLITS = {
    "train_1": [problem("a", "How many?"), problem("b", "Who is left?")],
    "train_2": [
        problem("a", "how  many"),
        problem("b", "When?"),
        problem("c", "When?"),
        problem("d", "Why not?"),
    ],
    "test": [problem("a", "Why, not?"), problem("b", "Where?")],
}


@dataclasses.dataclass
class Fixed:
    """A task whose splits are given."""

    name: str = "fixed"
    answer_rule: str = "gsm8k"
    splits: tuple[str, ...] = tuple(SPLITS)

    def load(self, split: str) -> list[Problem]:
        return SPLITS[split]


@pytest.fixture(autouse=True)
def fixed_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(data, "load_task", lambda name, options: Fixed())
    data._load_splits.cache_clear()
    yield
    data._load_splits.cache_clear()


def load(policy: str) -> data.Splits:
    return load_splits("fixed", {}, policy, list(SPLITS))


def test_report_finds_copies_between_and_within_splits_and_keeps_them() -> None:
    splits = load("report")
    found = {(one.split, one.id, one.first_split, one.first_id) for one in splits.duplicates}
    assert found == {
        ("train_2", "a", "train_1", "a"),
        ("train_2", "c", "train_2", "b"),
        ("train_2", "d", "test", "a"),
    }
    assert splits.dropped == 0
    assert len(splits.problems["train_2"]) == 4


def test_drop_takes_the_copy_out_of_the_training_data_and_never_out_of_test() -> None:
    splits = load("drop")
    assert [p.id for p in splits.problems["train_2"]] == ["b"]
    assert len(splits.problems["test"]) == 2
    assert splits.dropped == 3


def test_refuse_names_the_first_copy() -> None:
    with pytest.raises(UserError, match="3 duplicate questions.*train_2 id a = train_1 id a"):
        load("refuse")


def test_an_empty_split_and_a_repeated_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPLITS, "train_1", [])
    with pytest.raises(UserError, match="split 'train_1' is empty"):
        load("report")
    monkeypatch.setitem(SPLITS, "train_1", [problem("a", "One?"), problem("a", "Two?")])
    data._load_splits.cache_clear()
    with pytest.raises(UserError, match="holds the id 'a' twice"):
        load("report")


def test_gold_changes_the_digest_of_gold_alone() -> None:
    before = SPLITS["train_2"]
    after = [dataclasses.replace(p, gold="9", solution="#### 9") for p in before]
    assert rows_digest(question_rows(before)) == rows_digest(question_rows(after))
    assert rows_digest(gold_rows(before)) != rows_digest(gold_rows(after))
