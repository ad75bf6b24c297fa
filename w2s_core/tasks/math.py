r"""MATH: competition problems with a subject and a level from 1 to 5, from the hub or from local files.

The paper parts the 12,500 problems into 6,000 for the weak model (train_1), 6,000 for the strong one (train_2) and the
500 test problems of Lightman et al. (arXiv 2305.20050). A folder with train_1.jsonl, train_2.jsonl and test.jsonl is
read as it stands. Where there is one training set (train.jsonl, or the hub's 12,000), the half of the questions with
the smaller hashes is train_1 and the other half train_2: our choice, since the paper's halves were not released whole.
There is no dev set: `dev: N` takes N questions out of train_1.

A gold solution has its answer in `\boxed{}`; as in the paper's training data, ` The answer is: X` follows it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.answers.extract import extract, reference_answer
from w2s_core.answers.reading import canonical
from w2s_core.errors import UserError
from w2s_core.jsonl import read_jsonl
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.jsonl import MARKERS, SPLITS, check_options
from w2s_core.tasks.sources import Hub, download, find_file

DATASET = "nlile/hendrycks-MATH-benchmark"
"""12,000 training and 500 test problems, with problem, solution, answer, subject, level and unique_id."""
SUBJECTS = (
    "Algebra", "Counting & Probability", "Geometry", "Intermediate Algebra", "Number Theory", "Prealgebra",
    "Precalculus",
)  # fmt: skip
MARKER = MARKERS["math"]
_LEVEL = re.compile(r"(?:Level )?([1-5?])")


@dataclass(frozen=True)
class MathTask:
    """MATH from one source.

    Attributes:
        folder: local files; None reads the hub's data set at `revision`, a commit.
        dev: how many questions of train_1 become the dev set: those whose hash is smallest.
        subjects: only questions of these subjects; empty means all.
    """

    folder: Path | None
    revision: str | None
    dev: int = 0
    subjects: tuple[str, ...] = ()
    name: str = "math"
    answer_rule: str = "math"
    splits: tuple[str, ...] = SPLITS

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "MathTask":
        """The task as an experiment sets it up.

        Options:
            data (folder; this or revision): local files train_1.jsonl, train_2.jsonl (or train.jsonl) and test.jsonl
            revision (commit; this or data): of nlile/hendrycks-MATH-benchmark on the hub
            dev (int >= 0; 0): taken out of train_1; 0 reads dev.jsonl [questions]
            subjects (list of str; []): only these of the seven subjects of MATH; empty means all
        """
        check_options("math", options, {"data": str, "revision": str, "dev": int, "subjects": list})
        if ("data" in options) == ("revision" in options):
            raise UserError(
                f"task 'math': give either data: FOLDER (local files) or revision: COMMIT (of {DATASET} on the hub)"
            )
        folder = Path(options["data"]).expanduser() if "data" in options else None
        subjects = check_subjects("math", options.get("subjects", []), SUBJECTS)
        return cls(folder, options.get("revision"), check_dev("math", options), subjects)

    def load(self, split: str) -> list[Problem]:
        """The problems of one split. Raises UserError for data that cannot be had, or a row that cannot be used."""
        if split not in SPLITS:
            raise UserError(f"task 'math': {unknown('split', split, list(SPLITS))}")
        if split == "dev" and self.dev:
            return held_out(self.name, self._read("train_1"), self.dev)[0]
        problems = self._read(split)
        return held_out(self.name, problems, self.dev)[1] if split == "train_1" else problems

    def _read(self, split: str) -> list[Problem]:
        rows = self._rows(split)
        if self.subjects:
            rows = (row for row in rows if _subject(*row) in self.subjects)
        problems = [_problem(*row, split) for row in rows]
        if self.subjects and not problems:
            raise UserError(f"task 'math': split '{split}' has no question of {' or '.join(self.subjects)}")
        return problems

    def _rows(self, split: str) -> Iterable["_Row"]:
        """The rows of a split, in their file's order."""
        if self.folder is None:
            return self._hub_rows(split)
        halves = ("train_1", "train_2")
        if split in halves and not _has(self.folder, *halves) and _has(self.folder, "train"):
            return _half(_file_rows(self.folder, "train", self.name), split)
        return _file_rows(self.folder, split, self.name)

    def _hub_rows(self, split: str) -> Iterable["_Row"]:
        if split == "dev":
            raise UserError(f"task 'math': {DATASET} has no dev set; dev: 500 takes one out of train_1")
        part = "test" if split == "test" else "train"
        rows = download(Hub(DATASET, str(self.revision)), part, self.name)
        placed = ((f"{part}-{i:05d}", row, f"{DATASET}, row {i}") for i, row in enumerate(rows))
        return placed if split == "test" else _half(placed, split)


_Row = tuple[str, dict[str, Any], str]
"""An id to fall back on, the fields, and where the row stands."""


def _has(folder: Path, *names: str) -> bool:
    return any((folder / f"{name}{ending}").is_file() for name in names for ending in (".jsonl", ".jsonl.gz"))


def _file_rows(folder: Path, split: str, task: str) -> Iterator[_Row]:
    for i, row in enumerate(read_jsonl(find_file(folder, split, task))):
        yield row.id if "id" in row.fields else f"{split}-{i:05d}", row.fields, row.place


def _half(rows: Iterable[_Row], split: str) -> list[_Row]:
    """Half of the distinct questions: those with the smaller hashes for train_1 (one more if odd), or the others."""
    hashed = [(hash_of(_question(*row)), row) for row in rows]
    distinct = sorted({number for number, _ in hashed})
    first = set(distinct[: (len(distinct) + 1) // 2])
    return [row for number, row in hashed if (number in first) == (split == "train_1")]


def _field(fields: dict[str, Any], *names: str) -> Any:
    """The first of these fields; the released test file keeps subject, level and unique_id under `tag`."""
    tag = fields.get("tag")
    for place in (fields, tag if isinstance(tag, dict) else {}):
        for name in names:
            if place.get(name) is not None:
                return place[name]
    return None


def _question(name: str, fields: dict[str, Any], place: str) -> str:
    question = _field(fields, "question", "problem")
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{place}: a row needs the text 'problem' (or 'question')")
    return question


def _subject(name: str, fields: dict[str, Any], place: str) -> str:
    subject = _field(fields, "subject", "type")
    if subject not in SUBJECTS:
        raise UserError(
            f"{place}: option 'subjects' needs a 'subject' of MATH in each row (given: {subject!r})"[:300]
        )
    return str(subject)


def _problem(name: str, fields: dict[str, Any], place: str, split: str) -> Problem:
    """A row as MATH has it (`problem`, `solution`, perhaps `answer`), or as the authors wrote it (`question`)."""
    question = _question(name, fields, place)
    solution, answer = _field(fields, "solution"), _field(fields, "answer", "gold")
    if not isinstance(solution, str | None) or not isinstance(answer, str | None):
        raise UserError(f"{place}: 'solution' and 'answer' must be texts")
    if solution is None and (answer is None or split == "train_1"):
        raise UserError(f"{place}: a row needs the text 'solution'")
    answer = extract(solution or "", "math") if answer is None else reference_answer(answer, "math") or answer
    if answer is None:
        raise UserError(
            f"{place}: no 'answer', and the solution has none in \\boxed{{}} or after '{MARKER.strip()}'"
        )
    text = with_answer(solution, f"{MARKER}{answer}", answer)
    return Problem(name, question, read_back(text, answer, place), text, _level(fields, place), name)


def with_answer(solution: str | None, ending: str, answer: str, between: str = " ") -> str:
    """The solution, and the sentence that states the answer, unless the solution ends so already."""
    body = (solution or "").rstrip()
    if body.endswith((ending, ending + ".")) or not body:
        return body or ending
    return f"{body}{between}{ending}"


def read_back(solution: str, answer: str, place: str) -> str:
    """The final answer as the rule finds it in the solution; UserError where that is not the one the row states."""
    answer_read = extract(solution, "math")
    if answer_read is None or canonical(answer_read, "math") != canonical(answer, "math"):
        raise UserError(f"{place}: the answer {answer[:80]!r} cannot be read back out of its solution")
    return answer_read


def _level(fields: dict[str, Any], place: str) -> int:
    """1 to 5, written 5 or "Level 5"; 0 where the row has none (MATH itself has a few of "Level ?")."""
    level = _field(fields, "level")
    match = _LEVEL.fullmatch(str(level)) if level is not None else None
    if level is not None and not match:
        raise UserError(
            f'{place}: \'level\' must be 1 to 5, or "Level 1" to "Level 5" (given: {level!r})'[:300]
        )
    return int(match[1]) if match and match[1] != "?" else 0


# What tasks that read data sets share -------------------------------------------------------------------------------


def hash_of(question: str) -> int:
    """A number that hangs on the question's text alone: it parts data sets in the same way on every machine."""
    return int.from_bytes(hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def held_out(task: str, problems: Sequence[Problem], count: int) -> tuple[list[Problem], list[Problem]]:
    """The `count` problems whose questions have the smallest hashes, and the others.

    Raises:
        UserError: nothing would be left.
    """
    if count >= len(problems):
        raise UserError(
            f"task '{task}': dev: {count} leaves nothing of the {len(problems)} questions of train_1"
        )
    ranked = sorted(range(len(problems)), key=lambda i: (hash_of(problems[i].question), i))
    held = set(ranked[:count])
    return [problem for i, problem in enumerate(problems) if i in held], [
        problem for i, problem in enumerate(problems) if i not in held
    ]


def check_dev(task: str, options: dict[str, Any]) -> int:
    """The option `dev`, 0 by default. Raises UserError for a negative number."""
    count = int(options.get("dev", 0))
    if count < 0:
        raise UserError(f"task '{task}': option 'dev' must be 0 or more (given: {count})")
    return count


def check_subjects(task: str, subjects: list[object], known_subjects: Sequence[str]) -> tuple[str, ...]:
    """The option `subjects`. Raises UserError for a subject that does not exist."""
    for subject in subjects:
        if subject not in known_subjects:
            raise UserError(f"task '{task}': {unknown('subject', str(subject), list(known_subjects))}")
    return tuple(str(subject) for subject in subjects)
