r"""OlympicArena: olympiad problems of six subjects, multiple choice and free form, from local files.

As in the paper: English only, no programs to write, OlympicArena's test set as train_2 and its val set as test. Put
its rows into a folder as `test.jsonl` and `val.jsonl`, under the names that OlympicArena gives the two sets. A third
file, `train_1.jsonl`, teaches the weak model: rows with `problem`, `solution` and `answer`, from wherever you have
them (the paper's weak model is an instruct model that learns nothing beforehand).

OlympicArena keeps the answers of its test set back. The ceiling and the grades of the labels need them, so a row of
train_2 without an answer is refused: nothing here may stand in for a gold answer.

Answers are read by the rule `math`, since one run has one rule: it finds a letter, a truth value, a number or an
expression in `The final answer is $\boxed{X}$`, which is what the data set's prompts ask for.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.jsonl import JsonRow, read_jsonl
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.jsonl import SPLITS, check_options
from w2s_core.tasks.math import check_dev, check_subjects, held_out, read_back, with_answer
from w2s_core.tasks.sources import find_file

SUBJECTS = ("Math", "Physics", "Chemistry", "Biology", "Geography", "Astronomy")
"""The paper's six; OlympicArena's seventh, CS, is programs."""
FILES = {"train_1": "train_1", "train_2": "test", "dev": "dev", "test": "val"}
"""Which file a split is read from."""
ANSWER_TYPES = ("SC", "MC", "TF", "NV", "SET", "IN", "EX", "EQ", "TUP", "MPV", "MA", "CODE", "OT")
"""OlympicArena's codes: one choice, several, true or false, a number, a set, an interval, an expression, an equation, a
tuple, several quantities, several answers, a program, others."""
NOT_GRADED = {"CODE": "a program", "OT": "an answer that only a reader can grade"}
"""Answer types that the paper leaves out, and why."""


@dataclass(frozen=True)
class OlympicArenaTask:
    """OlympicArena in a folder.

    Attributes:
        dev: how many questions of train_1 become the dev set; 0 reads dev.jsonl.
        subjects: only questions of these subjects.
    """

    folder: Path
    dev: int = 0
    subjects: tuple[str, ...] = SUBJECTS
    name: str = "olympicarena"
    answer_rule: str = "math"
    splits: tuple[str, ...] = SPLITS

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "OlympicArenaTask":
        """The task as an experiment sets it up.

        Options:
            data (folder; required): local files train_1.jsonl, test.jsonl (train_2) and val.jsonl (test)
            dev (int >= 0; 0): taken out of train_1; 0 reads dev.jsonl [questions]
            subjects (list of str; []): only these of Math, Physics, Chemistry, Biology, Geography, Astronomy; empty
                means all
        """
        check_options("olympicarena", options, {"data": str, "dev": int, "subjects": list})
        if "data" not in options:
            raise UserError("task 'olympicarena': option 'data' is missing; give data: FOLDER (local files)")
        subjects = check_subjects("olympicarena", options.get("subjects", []), SUBJECTS) or SUBJECTS
        return cls(Path(options["data"]).expanduser(), check_dev("olympicarena", options), subjects)

    def load(self, split: str) -> list[Problem]:
        """The problems of one split. Raises UserError for data that cannot be had, or a row that cannot be used."""
        if split not in SPLITS:
            raise UserError(f"task 'olympicarena': {unknown('split', split, list(SPLITS))}")
        if split == "dev" and self.dev:
            return held_out(self.name, self._read("train_1"), self.dev)[0]
        problems = self._read(split)
        return held_out(self.name, problems, self.dev)[1] if split == "train_1" else problems

    def left_out(self, split: str) -> Counter[str]:
        """How many rows of a split's file are no part of the task, by reason."""
        return Counter(reason for _, _, reason in self._rows(split) if reason)

    def _read(self, split: str) -> list[Problem]:
        problems = [_problem(row, name, split) for name, row, reason in self._rows(split) if not reason]
        if not problems:
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out(split).items()))
            raise UserError(
                f"task 'olympicarena': {FILES[split]}.jsonl in {self.folder} has no row to use ({why})"
            )
        return problems

    def _rows(self, split: str) -> Iterator[tuple[str, JsonRow, str]]:
        """Id, row, and why the row is left out: "" for those that stay."""
        for i, row in enumerate(read_jsonl(find_file(self.folder, FILES[split], self.name))):
            name = row.id if "id" in row.fields else f"{split}-{i:05d}"
            yield name, row, self._reason(row)

    def _reason(self, row: JsonRow) -> str:
        language, kind = row.fields.get("language", "EN"), row.fields.get("answer_type")
        if language != "EN":
            return "not in English"
        if kind is not None and kind not in ANSWER_TYPES:
            raise UserError(f"{row.place}: {unknown('answer_type', str(kind)[:40], list(ANSWER_TYPES))}")
        if kind in NOT_GRADED:
            return NOT_GRADED[kind]
        # a row of train_1 may come from elsewhere and have no subject
        subject = row.fields.get("subject")
        return "of another subject" if subject is not None and subject not in self.subjects else ""


def _problem(row: JsonRow, name: str, split: str) -> Problem:
    """The prompt, where the row has one, is the question: it says in which form the answer is wanted."""
    answer = _answer(row, split)
    solution = row.text("solution") if row.fields.get("solution") or split == "train_1" else ""
    ending = f"The final answer is $\\boxed{{{answer}}}$"
    text = with_answer(solution, ending, answer, between="\n")
    question = row.text("prompt" if row.fields.get("prompt") else "problem").strip()
    if not question:
        raise UserError(f"{row.place}: 'problem' is empty")
    return Problem(name, question, read_back(text, answer, row.place), text, 0, name)


def _answer(row: JsonRow, split: str) -> str:
    """The answer; where there are several, one after the other with commas, letters in the order of the alphabet."""
    answer = row.fields.get("answer")
    parts = answer if isinstance(answer, list) else [answer]
    if not answer or not all(isinstance(part, str) and part.strip() for part in parts):
        held_back = "OlympicArena holds those of its test set back, and the ceiling and the grades of labels need them"
        raise UserError(f"{row.place}: no 'answer'{f' ({held_back})' if split == 'train_2' else ''}")
    texts = [str(part).strip().strip("$").strip() for part in parts]
    return ", ".join(sorted(texts) if row.fields.get("answer_type") == "MC" else texts)
