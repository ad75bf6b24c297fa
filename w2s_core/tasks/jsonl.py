"""Anyone's data: a folder with train_1.jsonl, train_2.jsonl, dev.jsonl and test.jsonl (or .jsonl.gz, .parquet), or a
data set of the hub (`sources`). The task has two names, `jsonl` and `dataset`, and the same options under either.

Fields of a row: `question`; `answer`, or `gold` (the final answer), or `solution` (a worked answer that ends in it;
train_1 must have it, since the weak model learns from it); where there are any, `id`, `level` (a whole number) and
`template`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.answers.comparing import compare
from w2s_core.answers.extract import check_rule, extract, reference_answer
from w2s_core.answers.reading import canonical
from w2s_core.errors import UserError
from w2s_core.jsonl import JsonRow, written
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.sources import Hub, Source

HUB_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*", re.ASCII)
OPTIONS = {
    "data": str,
    "id": str,
    "revision": str,
    "config": str,
    "columns": dict,
    "splits": dict,
    "answer": str,
}
SPLITS = ("train_1", "train_2", "dev", "test")
MARKERS = {"gsm8k": "#### ", "math": "The answer is: ", "choice": "The answer is: "}
"""What stands before a final answer in a solution, by answer rule."""
GOLD = ("answer", "gold")
"""The two names of the field that holds the final answer, in files of questions as in those of gold answers."""
ANSWERS = {"number": "gsm8k", "text": "gsm8k", "expression": "math", "choice": "choice"}
"""The answer rule of each kind of answer: that of GSM8K compares numbers by value, and words as words."""


@dataclass(frozen=True)
class JsonlTask:
    """Rows of files in a folder, or of a data set of the hub.

    Attributes:
        answer_rule: `gsm8k` for numbers or words after ####, `math` for expressions, `choice` for letters.
    """

    source: Source
    answer_rule: str
    name: str = "jsonl"
    splits: tuple[str, ...] = SPLITS

    @classmethod
    def from_options(cls, options: dict[str, Any], name: str = "jsonl") -> "JsonlTask":
        """The task as an experiment sets it up.

        Options:
            data (folder; this or id): files train_1, train_2, dev and test, as .jsonl, .jsonl.gz or .parquet
            id (str; this or data): ORG/NAME of a data set on the hub
            revision (commit; required with id): of that data set
            config (str; none): a configuration of that data set
            columns (mapping to str; {}): where the data have other names, field: column; what is not named is not read
            splits (mapping to str; {}): split: one of the data set's, or a slice of it, train[:1000]
            answer (number | text | expression | choice | a rule's name; required): how answers are read and compared
        """
        check_options(name, options, OPTIONS)
        if ("data" in options) == ("id" in options):
            raise UserError(
                f"task '{name}': option 'data' is missing; give data: FOLDER, or id: ORG/NAME and revision: COMMIT of "
                f"a data set on the hub (one of the two), and answer: {'|'.join(ANSWERS)}"
            )
        if "answer" not in options:
            raise UserError(f"task '{name}': option 'answer' is missing; give answer: {'|'.join(ANSWERS)}")
        of_hub = {part for part in ("revision", "config") if part in options}
        if "data" in options and of_hub:
            raise UserError(f"task '{name}': option '{min(of_hub)}' belongs to id: ORG/NAME, not to a folder")
        rule = ANSWERS.get(options["answer"], options["answer"])
        check_rule(rule)
        place = Path(options["data"]).expanduser() if "data" in options else _hub(options, name)
        source = Source(place, options.get("columns", {}), options.get("splits", {}))
        source.check(name, SPLITS)
        return cls(source, rule, name)

    @classmethod
    def from_dataset_options(cls, options: dict[str, Any]) -> "JsonlTask":
        """The task under its other name, with the options of `jsonl`."""
        return cls.from_options(options, "dataset")

    @property
    def folder(self) -> Path | None:
        """Where its files lie; None on the hub."""
        return self.source.place if isinstance(self.source.place, Path) else None

    @property
    def hub(self) -> Hub | None:
        """Its data set on the hub."""
        return self.source.place if isinstance(self.source.place, Hub) else None

    def load(self, split: str) -> list[Problem]:
        """The problems of one split. Raises UserError for a file that is missing, or a row that cannot be used."""
        if split not in SPLITS:
            raise UserError(f"task '{self.name}': {unknown('split', split, list(SPLITS))}")
        rows = self.source.rows(split, self.name)
        return [problem_of(row, f"{split}-{i:05d}", split, self.answer_rule) for i, row in enumerate(rows)]


def _hub(options: dict[str, Any], task: str) -> Hub:
    if not HUB_ID.fullmatch(options["id"]):
        raise UserError(f"task '{task}': option 'id' must be ORG/NAME of the hub (given: {options['id']!r})")
    if not options.get("revision"):
        raise UserError(
            f"task '{task}': option 'revision' is missing: the commit of {options['id']} that is meant; a name without "
            "one may stand for other rows tomorrow"
        )
    return Hub(options["id"], options["revision"], options.get("config", ""))


def problem_of(row: JsonRow, name: str, split: str, rule: str) -> Problem:
    """A row as a problem.

    Raises:
        UserError: no question, no answer that can be read, or an answer that is not its solution's; file and line.
    """
    question = row.text("question")
    if not question.strip():
        raise UserError(f"{row.place}: 'question' is empty")
    gold, solution = _gold_and_solution(row, split, rule)
    level = row.fields.get("level", 0)
    if not isinstance(level, int) or isinstance(level, bool):
        raise UserError(f"{row.place}: 'level' must be a whole number (given: {level!r})"[:300])
    name = row.id if "id" in row.fields else name
    template = row.text("template") if "template" in row.fields else name
    return Problem(name, question, gold, solution, level, template)


def _after(rule: str) -> str:
    """Where a built-in rule looks for the answer, for messages."""
    return f" after '{MARKERS[rule].strip()}'" if rule in MARKERS else ""


def _gold_and_solution(row: JsonRow, split: str, rule: str) -> tuple[str, str]:
    solution = row.text("solution") if "solution" in row.fields else None
    if solution is None and split == "train_1":
        row.text("solution")  # says what is missing, and where
    gold = stated_answer(row, rule)
    if solution is None:
        if gold is None:
            raise UserError(
                f"{row.place}: neither 'answer' nor 'solution'; one of them must hold the final answer"
            )
        solution = f"{MARKERS.get(rule, '')}{gold}"
    final = extract(solution, rule)
    if final is None:
        raise UserError(f"{row.place}: no final answer{_after(rule)} that rule '{rule}' can read")
    if gold is not None and not _agree(gold, final, rule):
        raise UserError(
            f"{row.place}: 'answer' says {gold[:60]!r}, and 'solution' ends in {final[:60]!r}; they must agree"
        )
    return gold if gold is not None else final, solution


def _agree(gold: str, final: str, rule: str) -> bool:
    same = compare(canonical(gold, rule), canonical(final, rule))
    if same is None:  # two formulas that are written in two ways
        from w2s_core.answers.grading import Grader

        with Grader(rule) as grader:
            same = grader.same(gold, final)
    return same is not False


def stated_answer(row: JsonRow, rule: str) -> str | None:
    """The final answer in a row's `answer` (or `gold`), alone or behind the rule's marker; None without the field.

    Raises:
        UserError: it cannot be read, or the row has both names and they say different things.
    """
    answers = {name: _read_answer(row, name, rule) for name in GOLD if row.fields.get(name) is not None}
    if len(answers) == len(GOLD) and not _agree(answers[GOLD[0]], answers[GOLD[1]], rule):
        values = " and ".join(f"'{name}' says {answer[:60]!r}" for name, answer in answers.items())
        raise UserError(f"{row.place}: {values}; they are two names of one field: keep the right one")
    return next(iter(answers.values()), None)


def _read_answer(row: JsonRow, name: str, rule: str) -> str:
    number = written(row.get(name))
    answer = reference_answer(row.text(name) if number is None else number, rule)
    if answer is None:
        raise UserError(
            f"{row.place}: no final answer in '{name}' that rule '{rule}' can read, alone or{_after(rule)}"
        )
    return answer


def check_options(task: str, options: dict[str, Any], known: Mapping[str, type]) -> None:
    """Raise UserError for an option that the task does not have, or of the wrong type."""
    for name, value in options.items():
        if name not in known:
            raise UserError(f"task '{task}': {unknown('option', str(name), sorted(known))}")
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise UserError(
                f"task '{task}': option '{name}' must be of type {known[name].__name__} (given: {value!r})"
            )
