"""What the data commands share: rows of files from anywhere, their answers, and what is said of them."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from w2s_core.answers.extract import extract
from w2s_core.answers.grading import Grader
from w2s_core.errors import UserError
from w2s_core.jsonl import JsonRow, read_jsonl
from w2s_core.selection import agree_question

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 2.0
"""How often progress is told, on stderr."""


def gold_answer(row: JsonRow, grader: Grader) -> str:
    """A row's gold answer: its `gold` as it stands, else the final answer of its `solution`."""
    task = grader.rule
    value = row.fields.get("gold")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is None and "solution" in row.fields:
        answer = extract(row.text("solution"), task)
        if answer is None:
            raise UserError(f"{row.place}: no final answer in 'solution' under task {task}; give 'gold'")
        return answer
    answer = row.text("gold").strip()
    if grader.classes([answer]) == [None]:
        raise UserError(f"{row.place}: 'gold' holds no answer that can be read under task {task}")
    return answer


def answered(row: JsonRow, task: str, field: str = "response") -> dict[str, Any]:
    """A row's response, its final answer, and its question as a field to copy."""
    response = row.text(field)
    return {"response": response, "answer": extract(response, task), "question": question_of(row)}


def question_of(row: JsonRow) -> dict[str, str]:
    """The row's question, where it holds one, as a field to copy."""
    return {"question": row.text("question")} if row.fields.get("question") is not None else {}


def compare(weak: str | None, icl: str | None, grader: Grader) -> str:
    """What becomes of a question whose two sides end in these answers."""
    one, other = grader.classes([weak, icl])
    if one is None or other is None:
        return "empty"
    if agree_question([one], [other]):
        return "kept"
    return "timed_out" if grader.same(weak, icl) is None else "disagree"


def read_samples(path: Path) -> dict[str, list[str]]:
    """All samples by id: a row may hold one `response` or a list `responses`, and an id may have several rows."""
    drawn: dict[str, list[str]] = {}
    for row in progress(read_jsonl(path), "rows of samples read"):
        if "responses" not in row.fields:
            drawn.setdefault(row.id, []).append(row.text("response"))
            continue
        texts = row.get("responses")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{row.place}: 'responses' must be a list of texts that is not empty")
        drawn.setdefault(row.id, []).extend(texts)
    return drawn


def require_join(matched: int, one: Path, other: Path) -> None:
    """Refuse two files without a common id."""
    if not matched:
        raise UserError(f"no id of {one} stands in {other}; rows are joined by 'id'")


def warn_if_unparsed(unparsed: int, rows: int, task: str, path: Path) -> None:
    """Say on stderr that no row has an answer."""
    if unparsed == rows:
        click.echo(
            f"w2s: none of the {rows} rows has a final answer under task {task}: is it {path}'s task?",
            err=True,
        )


def refuse_overwriting(out: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse an output that is an input."""
    if out and out.resolve() in {path.resolve() for path in inputs}:
        raise UserError(f"{out}: is an input; write somewhere else")


def refuse_twice(files: list[Path]) -> None:
    """Refuse a file that is given twice."""
    for path, times in Counter(path.resolve() for path in files).items():
        if times > 1:
            raise UserError(f"{path}: given {times} times; each row would repeat itself")


def progress(rows: Iterable[T], what: str) -> Iterator[T]:
    """The rows, told of on stderr now and then and at the end."""
    told = started = time.monotonic()
    count = 0
    for row in rows:
        count += 1
        yield row
        if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            click.echo(f"{count:,} {what}, {count / (told - started):,.0f}/s", err=True)
    click.echo(f"{count:,} {what}", err=True)


def print_summary(summary: dict[str, Any]) -> None:
    """The last line on stdout."""
    click.echo(json.dumps(summary, ensure_ascii=False))
