"""Accuracy, pass@k, maj@k and verdict counts of rows of grades, by plain loops: what tables are compared with.

A row of grades: `{"id": "test-00001", "level": 3, "template": "t", "answers": ["12", None], "verdicts": ["right",
"unparsed"], "tokens": [40, 160], "finish": ["eos", "length"]}`. The lists have one entry a response.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, nan
from typing import Any

from w2s_core.answers.verdicts import RIGHT, TRUNCATED, VERDICTS
from w2s_core.errors import UserError
from w2s_core.statistics.scores import pass_at_k

Grades = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Counts:
    """Responses by verdict. The five verdicts add up to `responses`; `truncated` cuts across them."""

    questions: int
    responses: int
    right: int
    wrong: int
    unparsed: int
    timed_out: int
    truncated: int
    tokens: int
    undecided: int = 0


@dataclass(frozen=True)
class LabelQuality:
    """How good a labelled set is: `precision` = right / rows, `coverage` = rows / all questions (nan for 0 / 0)."""

    rows: int
    right: int
    precision: float
    coverage: float


def counts(grades: Grades) -> Counts:
    """Count responses by verdict, and those that were cut off.

    Raises:
        UserError: a verdict that is none of right, wrong, unparsed, timed_out, undecided.
    """
    tally = dict.fromkeys(VERDICTS, 0)
    for row in grades:
        for verdict in row["verdicts"]:
            if verdict not in tally:
                raise UserError(
                    f"grades of '{row['id']}': unknown verdict '{verdict}'; known: {', '.join(VERDICTS)}"
                )
            tally[verdict] += 1
    return Counts(
        questions=len(grades),
        responses=sum(tally.values()),
        truncated=sum(finish == TRUNCATED for row in grades for finish in row["finish"]),
        tokens=sum(sum(row["tokens"]) for row in grades),
        **tally,
    )


def accuracy(grades: Grades) -> float:
    """The share of right responses, averaged over questions; nan without any. Unparsed and timed out are not right."""
    return _mean(_right(row) / len(row["verdicts"]) for row in grades)


def by_level(grades: Grades) -> dict[Any, float]:
    """Accuracy by difficulty level, hardest last; questions without a level come last, under None."""
    levels = {row["level"] for row in grades}
    ordered = sorted(levels - {None}) + [None] * (None in levels)
    return {level: accuracy([row for row in grades if row["level"] == level]) for level in ordered}


def mean_pass_at_k(grades: Grades, k: int) -> float:
    """pass@k averaged over questions; nan without any."""
    return _mean(pass_at_k(len(row["verdicts"]), _right(row), k) for row in grades)


def maj_at_k(classes: Sequence[int | None], right: int | None, k: int) -> float:
    """The chance that the majority of k responses, drawn without replacement, is right. Exact, not simulated.

    Args:
        classes: each response's class of equal answers; None where it has no answer, which casts no vote.
        right: the class that equals the gold answer; None if no response is right.
        k: responses that vote.

    A tie of t classes counts 1/t. Where nobody votes, the majority is not right.

    Raises:
        UserError: k of the responses cannot be drawn.
    """
    if not 1 <= k <= len(classes):
        raise UserError(f"{k} of {len(classes)} responses cannot be drawn")
    votes: dict[int | None, int] = {}
    for label in classes:
        votes[label] = votes.get(label, 0) + 1
    right_votes = votes.pop(right, 0) if right is not None else 0
    silent = votes.pop(None, 0)
    expected = 0.0
    for lead in range(1, min(right_votes, k) + 1):
        for tied, ways in _ways_to_follow(list(votes.values()), silent, k - lead, lead).items():
            expected += comb(right_votes, lead) * ways / (1 + tied) / comb(len(classes), k)
    return expected


def _ways_to_follow(others: list[int], silent: int, draws: int, lead: int) -> dict[int, int]:
    """Ways to draw the other `draws` responses so that no class has more than `lead` votes: {classes tied: ways}."""
    ways = {(drawn, 0): comb(silent, drawn) for drawn in range(min(silent, draws) + 1)}
    for size in others:
        grown: dict[tuple[int, int], int] = {}
        for (drawn, tied), count in ways.items():
            for votes in range(min(size, lead, draws - drawn) + 1):
                state = (drawn + votes, tied + (votes == lead))
                grown[state] = grown.get(state, 0) + count * comb(size, votes)
        ways = grown
    return {tied: count for (drawn, tied), count in ways.items() if drawn == draws}


def mean_maj_at_k(grades: Grades, k: int) -> float:
    """maj@k averaged over questions; nan without any.

    Right responses are one class, others are alike where their answers are the same text; so two spellings of one
    wrong answer count as two classes. Pass classes of a grader to `maj_at_k` where that matters.
    """
    return _mean(maj_at_k(*_classes(row), k) for row in grades)


def _classes(row: Mapping[str, Any]) -> tuple[list[int | None], int | None]:
    names: dict[str, int] = {}
    classes: list[int | None] = []
    for answer, verdict in zip(row["answers"], row["verdicts"], strict=True):
        if verdict == RIGHT:
            classes.append(-1)
        else:
            classes.append(None if answer is None else names.setdefault(answer, len(names)))
    return classes, -1 if -1 in classes else None


def label_quality(grades: Grades, asked: int) -> LabelQuality:
    """Precision and coverage of a labelled set. The label of a question is its first response.

    Args:
        grades: the set's rows, graded.
        asked: how many questions there were to label (rows of train_2).

    Raises:
        UserError: the set has more rows than there were questions.
    """
    if len(grades) > asked:
        raise UserError(f"a labelled set has {len(grades)} rows, but only {asked} questions were asked")
    right = sum(row["verdicts"][0] == RIGHT for row in grades)
    precision = right / len(grades) if grades else nan
    return LabelQuality(len(grades), right, precision, len(grades) / asked if asked else nan)


def _right(row: Mapping[str, Any]) -> int:
    return sum(verdict == RIGHT for verdict in row["verdicts"])


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else nan
