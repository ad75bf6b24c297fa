"""What the data commands share: rows of files from anywhere, their answers, and what is said of them."""

import json
import os
import tempfile
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from w2s_core.answers import extract, released
from w2s_core.answers.grading import Grader
from w2s_core.errors import UserError
from w2s_core.jsonl import JsonRow, read_jsonl, read_unique
from w2s_core.selection import agree_question
from w2s_core.tasks.jsonl import GOLD, stated_answer

T = TypeVar("T")
Match = Literal["value", "string"]
SECONDS_BETWEEN_LINES = 2.0
"""How often progress is told, on stderr."""


class Golds:
    """The gold answers of a file by id.

    A row whose gold answer cannot be read is passed over, and told of on stderr.

    Attributes:
        answers: those that can be read.
        unreadable: the ids of the others, each with what is wrong.

    Raises:
        UserError: none can be read; what is wrong with the first.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.answers: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        for name, row in progress(read_unique(path), "gold answers read"):
            if not {*GOLD, "solution"} & row.fields.keys():
                row.get(GOLD[0])  # a file with other names is refused at its first row
            try:
                self.answers[name] = gold_answer(row, task)
            except UserError as error:
                self.unreadable[name] = str(error)
        if self.unreadable:
            first = next(iter(self.unreadable.values()))
            if not self.answers:
                raise UserError(first)
            click.echo(
                f"w2s: {len(self.unreadable)} gold answers cannot be read, and their rows are passed over; the first: "
                f"{first}",
                err=True,
            )


def gold_answer(row: JsonRow, task: str) -> str:
    """A row's gold answer: that of its `answer` (or `gold`), else that of its `solution`.

    Raises:
        UserError: there is none that can be read; file, line and what is wrong.
    """
    answer = stated_answer(row, task)
    if answer is None:
        answer = extract.extract(row.text("solution"), task)
    if answer is None:
        raise UserError(f"{row.place}: no final answer in 'solution' under task {task}; give '{GOLD[0]}'")
    return answer


def answer_of(response: str, task: str, match: Match) -> str | None:
    """A response's final answer, as this way of matching reads it."""
    return (released if match == "string" else extract).extract(response, task)


def answered(row: JsonRow, task: str, match: Match, field: str = "response") -> dict[str, Any]:
    """A row's response, its final answer, and its question as a field to copy."""
    response = row.text(field)
    return {"response": response, "answer": answer_of(response, task, match), "question": question_of(row)}


def question_of(row: JsonRow) -> dict[str, str]:
    """The row's question, where it holds one, as a field to copy."""
    return {"question": row.text("question")} if row.fields.get("question") is not None else {}


def compare(weak: str | None, icl: str | None, grader: Grader) -> str:
    """What becomes of a question whose two sides end in these answers."""
    weak_class, icl_class = grader.classes([weak, icl])
    if weak_class is None or icl_class is None:
        return "empty"
    if agree_question([weak_class], [icl_class]):
        return "kept"
    if grader.same(weak, icl) is not None or weak is None or icl is None:
        return "disagree"
    return "undecided" if str(grader.grade([(weak, icl)])[0]) == "undecided" else "timed_out"


class Spilled:
    """Values by id in a temporary file: memory holds 24 bytes for each, however long it is.

    All are added before the first is read.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._hashes, self._places = array("q"), array("q", [0])

    def __del__(self) -> None:
        self._file.close()

    def add(self, name: str, value: Any) -> None:
        """Add a value under an id, behind those that it has."""
        size = self._file.write(json.dumps([name, value]).encode())
        self._hashes.append(hash(name))
        self._places.append(self._places[-1] + size)

    def __len__(self) -> int:
        """How many ids there are. Of a million, two have one hash (and count once) in one of 30 million cases."""
        import numpy as np

        ordered = np.frombuffer(self._sorted[0], np.int64)
        return len(ordered) and 1 + int(np.count_nonzero(np.diff(ordered)))

    @cached_property
    def _sorted(self) -> tuple["array[int]", "array[int]"]:
        """The hashes in order, and which value each belongs to."""
        self._file.flush()
        import numpy as np

        order = np.argsort(np.frombuffer(self._hashes, np.int64), kind="stable")
        return array("q", np.frombuffer(self._hashes, np.int64)[order].tobytes()), array("q", order.tobytes())

    def get(self, name: str) -> list[Any]:
        """All values of an id, in the order in which they were added."""
        hashes, order = self._sorted
        values = []
        for i in range(bisect_left(hashes, hash(name)), bisect_right(hashes, hash(name))):
            start, end = self._places[order[i]], self._places[order[i] + 1]
            of, value = json.loads(os.pread(self._file.fileno(), end - start, start))
            if of == name:
                values.append(value)
        return values


def read_samples(path: Path) -> Spilled:
    """All samples by id: a row may hold one `response` or a list `responses`, and an id may have several rows."""
    drawn = Spilled()
    for row in progress(read_jsonl(path), "rows of samples read"):
        if "responses" not in row.fields:
            drawn.add(row.id, row.text("response"))
            continue
        texts = row.get("responses")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{row.place}: 'responses' must be a list of texts that is not empty")
        for text in texts:
            drawn.add(row.id, text)
    return drawn


def require_join(matched: int, left: Path, right: Path) -> None:
    """Refuse two files without a common id."""
    if not matched:
        raise UserError(f"no id of {left} stands in {right}; rows are joined by 'id'")


class Unparsed:
    """Responses without a final answer, by what they hold instead; many of one kind are told of on stderr."""

    def __init__(self, task: str, path: Path) -> None:
        self._task, self._path = task, path
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._responses = 0

    def count(self, name: str, response: str, answer: str | None) -> None:
        """Note a response and its answer."""
        self._responses += 1
        if answer is None:
            kind = _kind_of(response, self._task)
            self._kinds[kind] += 1
            self._examples.setdefault(kind, f"id {name!r}: {_shortened(response)!r}")

    def warn(self) -> None:
        """Say on stderr that no response has an answer, or that many of one kind have none."""
        if self._responses and self._kinds.total() == self._responses:
            click.echo(
                f"w2s: none of the {self._responses} rows has a final answer under task {self._task}: is it "
                f"{self._path}'s task?",
                err=True,
            )
        for kind, count in self._kinds.most_common():
            if count >= MANY_UNPARSED * self._responses:
                click.echo(
                    f"w2s: {count} of {self._responses} responses of {self._path} {kind}, and count as unparsed under "
                    f"task {self._task}; the first, {self._examples[kind]}",
                    err=True,
                )


MANY_UNPARSED = 0.1
"""Share of the responses from which on those that hold no answer, of one kind, are worth a warning."""
_OTHER_SIGNS = {
    "gsm8k": {
        "\\boxed": r"end in \boxed{} instead of ####",
        "answer is": "say 'the answer is' instead of ####",
    },
    "math": {"####": "end in #### instead of \\boxed{} or 'The answer is'"},
    "choice": {},
}


def _kind_of(response: str, task: str) -> str:
    if not response.strip():
        return "are empty"
    for sign, kind in _OTHER_SIGNS[task].items():
        if sign in response.lower():
            return kind
    if extract.holds_marker(response, task):
        return "hold nothing readable behind the marker of an answer"
    return "hold no marker of an answer"


def _shortened(text: str) -> str:
    """The end of a response, where its answer should stand."""
    return text if len(text) <= 80 else f"...{text[-77:]}"


def refuse_overwriting(out: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse an output that is an input."""
    if out and out.resolve() in {path.resolve() for path in inputs}:
        raise UserError(f"{out}: is an input; write somewhere else")


def refuse_twice(files: list[Path]) -> None:
    """Refuse a file that is given twice."""
    for path, times in Counter(path.resolve() for path in files).items():
        if times > 1:
            raise UserError(f"{path}: given {times} times; each row would repeat itself")


def progress(rows: Iterable[T], activity: str) -> Iterator[T]:
    """The rows, told of on stderr now and then and at the end."""
    last_line = started = time.monotonic()
    count = 0
    for row in rows:
        count += 1
        yield row
        if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            click.echo(f"{count:,} {activity}, {count / (last_line - started):,.0f}/s", err=True)
    click.echo(f"{count:,} {activity}", err=True)


def print_summary(summary: dict[str, Any]) -> None:
    """The last line on stdout."""
    click.echo(json.dumps(summary, ensure_ascii=False))
