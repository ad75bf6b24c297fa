"""The splits of an experiment: loaded from the task, checked for duplicates, and parted into questions and gold."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from w2s_core.data.question_text import normalise_question
from w2s_core.errors import UserError
from w2s_core.plugins import TASKS
from w2s_core.rows import Row
from w2s_core.tasks import Problem, load_task

TRAINING_SPLITS = ("pretrain", "train_1", "train_2")


@dataclass(frozen=True)
class Duplicate:
    """A question that stands a second time: at `split`/`id`, after standing first at `first_split`/`first_id`."""

    split: str
    id: str
    first_split: str
    first_id: str


@dataclass(frozen=True)
class Splits:
    """The problems that a run uses, and the duplicates that the gate found among them."""

    problems: dict[str, tuple[Problem, ...]]
    duplicates: tuple[Duplicate, ...]
    dropped: int


def load_splits(task: str, options: dict[str, Any], duplicates: str, names: Sequence[str]) -> Splits:
    """Load splits and apply the leak gate.

    A question counts as a duplicate where the same text, up to case, spacing and punctuation, stands already in an
    earlier split. Evaluation splits are read first, so that `drop` takes the copy out of the training data.

    Args:
        duplicates: "report" keeps them, "drop" leaves the copies out, "refuse" raises.

    Raises:
        UserError: an empty split, duplicate ids, or duplicates under "refuse".
    """
    return _load_splits(task, json.dumps(options, sort_keys=True), duplicates, tuple(names))


@lru_cache(maxsize=8)
def _load_splits(task: str, options: str, policy: str, names: tuple[str, ...]) -> Splits:
    loaded = load_task(task, json.loads(options))
    with TASKS.guard(task):
        problems = {name: tuple(loaded.load(name)) for name in names}
    for name, members in problems.items():
        _check(task, name, members)
    found = _find_duplicates(problems)
    if found and policy == "refuse":
        one = found[0]
        raise UserError(
            f"task '{task}': {len(found)} duplicate questions between or within splits (first: {one.split} id "
            f"{one.id} = {one.first_split} id {one.first_id}); set duplicates: drop or report to go on"
        )
    if policy != "drop":
        return Splits(problems, tuple(found), 0)
    barred = {(one.split, one.id) for one in found}
    kept = {name: tuple(p for p in ps if (name, p.id) not in barred) for name, ps in problems.items()}
    return Splits(kept, tuple(found), len(barred))


def _check(task: str, name: str, members: Sequence[Problem]) -> None:
    if not members:
        raise UserError(f"task '{task}': split '{name}' is empty; the method needs questions in it")
    seen: set[str] = set()
    for problem in members:
        if not isinstance(problem, Problem):
            raise UserError(
                f"task '{task}': split '{name}' must hold w2s_core.tasks.Problem, not {type(problem).__name__}"
            )
        if problem.id in seen:
            raise UserError(
                f"task '{task}': split '{name}' holds the id '{problem.id}' twice; ids must be unique"
            )
        seen.add(problem.id)


def _find_duplicates(problems: dict[str, tuple[Problem, ...]]) -> list[Duplicate]:
    """Evaluation splits claim a question first, then pretrain, train_1, train_2."""
    order = sorted(problems, key=lambda name: (name in TRAINING_SPLITS, name))
    first: dict[str, tuple[str, str]] = {}
    found = []
    for name in order:
        for problem in problems[name]:
            text = normalise_question(problem.question)
            if text in first:
                found.append(Duplicate(name, problem.id, *first[text]))
            else:
                first[text] = (name, problem.id)
    return found


def question_rows(problems: Sequence[Problem]) -> list[Row]:
    """What the strong model may see of a split."""
    return [{"id": p.id, "question": p.question} for p in problems]


def gold_rows(problems: Sequence[Problem]) -> list[Row]:
    """The gold side of a split: for grading, for the weak model's training, and for the ceiling."""
    return [
        {"id": p.id, "gold": p.gold, "solution": p.solution, "level": p.level, "template": p.template}
        | ({"entry": p.entry} if p.entry else {})
        for p in problems
    ]


def rows_digest(rows: Sequence[Row]) -> str:
    """sha256 of rows, as canonical JSON lines."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()
