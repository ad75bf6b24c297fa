"""Answers made to be dear: nothing hangs or dies, the memory of a process is bounded, and load changes no verdict."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.answers.test_grading import SLOW, children
from w2s_core.answers import cost, expressions
from w2s_core.answers.child import MEMORY_LIMIT, OUT_OF_MEMORY
from w2s_core.answers.extract import Verdict
from w2s_core.answers.grading import Grader
from w2s_core.answers.latex import plain

ROOT = Path(__file__).resolve().parents[2]
MOST_MB = MEMORY_LIMIT / 2**20 + 150
"""Of a process: what it may take for pairs, and the libraries."""


def graded(rows: int, *timeout: str, within: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.answers.nasty", str(rows), *timeout]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=within, check=True)
    return json.loads(done.stdout)


def holds(outcome: dict[str, Any], rows: int) -> None:
    counts = Counter(outcome["verdicts"])
    assert counts.total() == 3 * rows
    assert counts.keys() <= set(Verdict)
    assert counts["timed_out"] + counts["undecided"] < rows
    against_themselves = Counter(outcome["verdicts"][::3])
    assert against_themselves.keys() <= {"right", "unparsed"}
    assert outcome["mb"] < MOST_MB


def test_nasty_answers_are_graded() -> None:
    holds(graded(300, "0.3", within=250), 300)


@pytest.mark.slow
def test_10_000_nasty_answers_are_graded() -> None:
    outcome = graded(10_000, "0.3", within=3000)
    holds(outcome, 10_000)
    assert outcome["cpu_s"] < 0.2 * 10_000


@contextmanager
def burdened(processes: int) -> Iterator[None]:
    """With processes that do nothing but burn the processor."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@pytest.mark.slow
def test_load_changes_no_verdict() -> None:
    alone = graded(120, within=600)
    with burdened(16):
        assert graded(120, within=2400)["verdicts"] == alone["verdicts"]


# The bounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "is_bounded"),
    [
        ("2^{500}", True),
        ("10^{100000}", True),
        ("2^{2^{40}}", False),
        ("(x+1)^{2000}", True),
        ("(x+1)^{200000}", False),
        ("20000!", True),
        ("(10^{10})!", False),
        (r"\binom{5000}{2500}", True),
        (r"\binom{5000}{4999}", True),
        (r"\binom{1000000}{3}", True),
        (r"\binom{n}{3}", True),
        (r"\binom{90000}{45000}", False),
        (r"e^{-\frac{x}{1000000}}", True),
        (r"2^{\frac{x}{1000000}}", True),
        ("2^{100x}", True),
        ("2^{x^{20}}", False),
        (r"\sqrt[1000]{x}", True),
        (r"x^{\frac{1}{1000}}", True),
        (r"\sqrt[\frac{1}{1000000}]{x}", False),
        (r"\sin(10^{30})", True),
        (r"\exp(\exp(\exp(100)))", False),
        ("x!", True),
        ("x^{x^x}", True),
        ("x^{x^{x^x}}", False),
        ("0.3^{" * 7 + "x" + "}" * 7, True),
        ("0.3^{" * 12 + "x" + "}" * 12, False),
    ],
)
def test_what_is_past_the_bounds_is_told_from_the_formula(formula: str, is_bounded: bool) -> None:
    tree = expressions.read(plain(formula))
    assert tree is not None
    if is_bounded:
        cost.check(tree)
    else:
        with pytest.raises(cost.TooLarge):
            cost.check(tree)


def test_a_pair_past_the_bounds_has_timed_out_and_its_process_lives() -> None:
    with Grader("math") as grader:
        assert grader.same("1+x", "x+1")
        before = children()
        assert grader.grade([("2^{2^{40}}", "5"), ("2+x", "x+2")]) == [Verdict.TIMED_OUT, Verdict.RIGHT]
        assert children() == before


def test_a_formula_that_cannot_be_read_in_time_is_not_read_again() -> None:
    with Grader("math", timeout_s=0.05) as grader:
        started = 0
        start = grader._pool._hand_out

        def counted(*args: Any) -> None:
            nonlocal started
            before = len(grader._pool._workers)
            start(*args)
            started += len(grader._pool._workers) - before

        grader._pool._hand_out = counted  # type: ignore[method-assign]
        verdicts = grader.grade([(SLOW, str(gold)) for gold in range(20)])
        assert set(verdicts) == {Verdict.TIMED_OUT}
        assert grader.grade([(SLOW, "21")]) == [Verdict.TIMED_OUT]
        assert started <= 2


def test_a_process_that_needs_too_much_memory_ends_and_the_next_pair_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = []
    start = subprocess.Popen

    def small(command: list[str], **options: Any) -> Any:
        served = f"child._serve({command[-2]}, 'algebra')"
        script = f"from w2s_core.answers import child; child.MEMORY_LIMIT = 2**22; {served}"
        begun.append(start([command[0], "-P", "-c", script], **options))
        return begun[-1]

    monkeypatch.setattr(subprocess, "Popen", small)
    with Grader("math") as grader:
        product = r"\prod_{k=1}^{1000000} (k+1)"
        assert grader.grade([(product, "5"), ("1+x", "x+1")]) == [Verdict.TIMED_OUT, Verdict.RIGHT]
    assert len(begun) == 2
    assert begun[0].returncode == OUT_OF_MEMORY


def test_a_process_starts_in_its_own_time() -> None:
    """What loading the libraries costs counts for no pair: with any limit, a process can begin."""
    with Grader("math", timeout_s=0.02) as grader:
        assert grader.same("1+x", "x+1") is True
