"""GSM8K: grade-school word problems whose solutions end in `#### N`, from the hub or from local files.

The paper trains the weak models on 7,000 questions and takes 7,000 more, GSM8K's and augmented ones, as train_2; its
authors released both. Put them into a folder as train_1.jsonl and train_2.jsonl, with test.jsonl: that is `data`.
Without `data` the hub's 7,473 training questions are split in two by a hash of the question, so train_2 has half the
paper's size. Neither has a dev set: `dev: N` takes N questions out of train_1.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.answers.extract import extract
from w2s_core.errors import UserError
from w2s_core.jsonl import JsonRow, read_jsonl
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.jsonl import SPLITS, check_options
from w2s_core.tasks.sources import Hub, download, find_file

DATASET = "openai/gsm8k"
HARDEST = 8
"""Levels count the steps of the gold solution, up to this many. GSM8K has no levels of its own: the choice is ours."""


@dataclass(frozen=True)
class Gsm8kTask:
    """GSM8K from one source.

    Attributes:
        folder: local files; None reads the hub's data set at `revision`, a commit.
        dev: how many questions of train_1 become the dev set: those whose hash is smallest.
    """

    folder: Path | None
    revision: str | None
    dev: int = 0
    name: str = "gsm8k"
    answer_rule: str = "gsm8k"
    splits: tuple[str, ...] = SPLITS

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Gsm8kTask":
        """The task as an experiment sets it up.

        Options:
            data (folder; this or revision): local files train_1.jsonl, train_2.jsonl, test.jsonl
            revision (commit; this or data): of openai/gsm8k on the hub
            dev (int >= 0; 0): taken out of train_1; 0 reads dev.jsonl [questions]
        """
        check_options("gsm8k", options, {"data": str, "revision": str, "dev": int})
        if ("data" in options) == ("revision" in options):
            raise UserError(
                f"task 'gsm8k': give either data: FOLDER (local files) or revision: COMMIT (of {DATASET} on the hub)"
            )
        if options.get("dev", 0) < 0:
            raise UserError(f"task 'gsm8k': option 'dev' must be 0 or more (given: {options['dev']})")
        folder = Path(options["data"]).expanduser() if "data" in options else None
        return cls(folder, options.get("revision"), options.get("dev", 0))

    def load(self, split: str) -> list[Problem]:
        """The problems of one split. Raises UserError for data that cannot be had, or a row that cannot be used."""
        if split not in SPLITS:
            raise UserError(f"task 'gsm8k': {unknown('split', split, list(SPLITS))}")
        if split not in ("train_1", "dev") or (split == "dev" and not self.dev):
            return self._read(split)
        problems = self._read("train_1")
        if self.dev >= len(problems):
            raise UserError(
                f"task 'gsm8k': dev: {self.dev} leaves nothing of the {len(problems)} questions of train_1"
            )
        held = {
            problem.id
            for problem in sorted(problems, key=lambda problem: _hash(problem.question))[: self.dev]
        }
        return [problem for problem in problems if (problem.id in held) == (split == "dev")]

    def _read(self, split: str) -> list[Problem]:
        if self.folder:
            rows: Iterable[tuple[str, dict[str, Any], str]] = (
                (_id(row, f"{split}-{i:05d}"), row.fields, row.place)
                for i, row in enumerate(read_jsonl(find_file(self.folder, split, self.name)))
            )
        else:
            rows = _hub_rows(str(self.revision), split)
        return [_problem(name, fields, place) for name, fields, place in rows]


def _id(row: JsonRow, default: str) -> str:
    return row.id if "id" in row.fields else default


def _problem(name: str, fields: dict[str, Any], place: str) -> Problem:
    """A row as the hub has it (`question`, `answer`), or as the authors released it (`question`, `solution`)."""
    question, solution = fields.get("question"), fields.get("solution", fields.get("answer"))
    if not isinstance(question, str) or not isinstance(solution, str):
        raise UserError(f"{place}: a row needs the texts 'question' and 'answer' (or 'solution')")
    if not question.strip():
        raise UserError(f"{place}: 'question' is empty")
    gold = extract(solution, "gsm8k")
    if gold is None:
        raise UserError(f"{place}: the solution has no final answer after ####")
    steps = sum(bool(line.strip()) for line in solution.partition("####")[0].splitlines())
    return Problem(name, question, gold.strip(), solution, max(1, min(steps, HARDEST)), name)


def _hub_rows(revision: str, split: str) -> list[tuple[str, dict[str, Any], str]]:
    place, hub = f"{DATASET} at {revision}", Hub(DATASET, revision, "main")
    if split == "test":
        return [(f"test-{i:05d}", row, place) for i, row in enumerate(download(hub, "test", "gsm8k"))]
    half = {"train_1": 0, "train_2": 1}.get(split)
    if half is None:
        raise UserError(f"task 'gsm8k': {DATASET} has no {split} set; dev: 500 takes one out of train_1")
    rows = enumerate(download(hub, "train", "gsm8k"))
    return [(f"train-{i:05d}", row, place) for i, row in rows if _hash(row["question"]) % 2 == half]


def _hash(question: str) -> int:
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big")
