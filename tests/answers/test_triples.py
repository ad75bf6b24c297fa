"""The table of answers and gold answers, each pair held both ways round, by `grade`, `same` and `classes`."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.answers.triples import KNOWN_FAULTS, Triple, triples
from w2s_core.answers.grading import Grader

TABLE = list(triples())


@pytest.fixture(scope="module")
def graders() -> Iterator[dict[str, Grader]]:
    with Grader("math") as math, Grader("gsm8k") as gsm8k, Grader("choice") as choice:
        yield {"math": math, "gsm8k": gsm8k, "choice": choice}


def marks(triple: Triple) -> list[pytest.MarkDecorator]:
    fault = KNOWN_FAULTS.get((triple.answer, triple.gold))
    return [pytest.mark.xfail(reason=fault, strict=True)] if fault else []


def cases() -> Iterator[Any]:
    for triple in TABLE:
        name = f"{triple.kind}-{'same' if triple.same else 'different'}-{triple.answer}-{triple.gold}"
        yield pytest.param(triple, id=name.encode("unicode_escape").decode(), marks=marks(triple))


@pytest.mark.parametrize("triple", list(cases()))
def test_a_triple(graders: dict[str, Grader], triple: Triple) -> None:
    grader, answer, gold = graders[triple.rule], triple.answer, triple.gold
    verdict = "right" if triple.same else "wrong"
    assert [str(verdict) for verdict in grader.grade([(answer, gold), (gold, answer)])] == [verdict, verdict]
    assert grader.same(answer, gold) is triple.same is grader.same(gold, answer)
    first, second = grader.classes([answer, gold])
    assert (first == second) is triple.same


def test_the_table_is_large_and_says_each_pair_once() -> None:
    assert len(TABLE) >= 600
    assert len({triple[:4] for triple in TABLE}) == len(TABLE)
    assert all(triple.reason for triple in TABLE)
    assert {triple[2:4] for triple in TABLE} >= KNOWN_FAULTS.keys()
