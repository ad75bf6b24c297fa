"""Verdicts and classes, and the process behind them: killed, burdened, left alone, it never turns time into `wrong`."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.answers.extract import Verdict
from w2s_core.answers.grading import Grader
from w2s_core.answers.pool import ATTEMPTS
from w2s_core.errors import UserError

TOWER = "9^{9^{9^{9}}}"
FACTORIAL = "(10^{10})!"
SLOW = r"\sum_{k=1}^{\infty} \sin(k^2)"
"""Within the bounds of `cost`, and not compared in many seconds."""


def children(parent: int | None = None) -> set[int]:
    """Processes of the grader that a process has started and that still run."""
    parent = parent or os.getpid()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(after_name[1]) == parent and after_name[0] != "Z" and b"answers.child" in command:
            found.add(int(folder.name))
    return found


def is_gone(process: int, within: float = 10.0) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(int(within * 20)):
        try:
            if "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


# Verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "answer", "gold", "verdict"),
    [
        ("gsm8k", "$1,080.00", "1080", Verdict.RIGHT),
        ("gsm8k", "5 apples", "5", Verdict.RIGHT),
        ("gsm8k", "9, 16", "9", Verdict.WRONG),
        ("gsm8k", None, "5", Verdict.UNPARSED),
        ("math", r"\frac12", "0.5", Verdict.RIGHT),
        ("math", "3", "4", Verdict.WRONG),
        ("math", r"\text{even}", "odd", Verdict.WRONG),
        ("math", None, "4", Verdict.UNPARSED),
        ("choice", "(B)", "B", Verdict.RIGHT),
        ("choice", "C, A", "A and C", Verdict.RIGHT),
    ],
)
def test_verdicts_that_need_no_algebra_start_no_process(rule, answer, gold, verdict):
    with Grader(rule) as grader:
        assert grader.grade([(answer, gold)]) == [verdict]
        assert not children()


def test_verdicts_stand_in_the_order_of_the_pairs():
    pairs = [("5", "5"), (None, "5"), ("6", "5"), ("5.0", "5")]
    with Grader("gsm8k") as grader:
        expected = [Verdict.RIGHT, Verdict.UNPARSED, Verdict.WRONG, Verdict.RIGHT]
        assert grader.grade(iter(pairs)) == grader.grade(pairs) == expected
        assert grader.grade([]) == []


def test_the_released_match_compares_text_and_never_starts_a_process():
    with Grader("math", match="string") as grader:
        assert grader.same("0.50", "0.5") is False
        assert grader.same("3.00", "3") is True
        assert grader.same("x+1", "1+x") is False
        assert not children()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("gsm9k",), "unknown answer rule 'gsm9k'"), (("math", "numeric"), "unknown match 'numeric'")],
)
def test_a_rule_or_match_that_does_not_exist_is_told_in_one_line(arguments, told):
    with pytest.raises(UserError, match=told) as error:
        Grader(*arguments)
    assert "\n" not in str(error.value)


def test_letters_are_no_algebra():
    with Grader("choice") as grader:
        assert grader.grade([("A", "B")]) == [Verdict.WRONG]
        assert not children()


# Classes -----------------------------------------------------------------------------------------------------------

NUMBERS = ["5", "5.0", "$5", "10/2", "5 apples", "6", "6.00", "½", "0.5", "1/2", None]
LETTERS = ["A", "(A)", "a.", "B", "A, B", "B and A", None]


WITHOUT_ALGEBRA = [("gsm8k", "value", NUMBERS), ("gsm8k", "string", NUMBERS), ("choice", "string", LETTERS)]


@given(st.data(), st.sampled_from(WITHOUT_ALGEBRA))
def test_classes_are_those_of_equality_in_any_order(data, how):
    rule, match, known = how
    answers = data.draw(st.lists(st.sampled_from(known), max_size=10))
    order = data.draw(st.permutations(range(len(answers))))
    with Grader(rule, match=match) as grader:
        classes = grader.classes(answers)
        shuffled = grader.classes([answers[i] for i in order])
        for one, other in itertools.combinations(range(len(answers)), 2):
            if answers[one] is None or answers[other] is None:
                continue
            same = grader.same(answers[one], answers[other])
            assert (classes[one] == classes[other]) is same is grader.same(answers[other], answers[one])
    assert [one is None for one in classes] == [answer is None for answer in answers]
    seen = [one for one in classes if one is not None]
    assert list(dict.fromkeys(seen)) == list(range(len(set(seen))))
    groups = {(classes[i], new) for i, new in zip(order, shuffled, strict=True)}
    assert len(groups) == len({old for old, _ in groups}) == len({new for _, new in groups})


# The process -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind():
    with Grader("math") as grader:
        assert grader.same("x+1", "1+x") is True
        (child,) = children()
    assert is_gone(child)
    assert not children()


def compare_until_interrupted() -> None:
    with Grader("math") as grader:
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        grader.same(SLOW, "5")


def test_an_interrupt_leaves_nothing_behind():
    with pytest.raises(KeyboardInterrupt):
        compare_until_interrupted()
    assert not children()


def test_it_holds_nothing_of_the_parent(tmp_path):
    """A lock is free as soon as the parent closes the file, even one that children could inherit."""
    with Grader("math") as grader, (tmp_path / "lock").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        fcntl.flock(held, fcntl.LOCK_EX)
        assert grader.same("x+1", "1+x") is True
        (child,) = children()
        held.close()
        with (tmp_path / "lock").open("w") as again:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert Path(f"/proc/{child}").exists()
        opened = {str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()}
        assert not any(str(tmp_path) in name for name in opened)


def test_one_that_was_killed_is_replaced():
    with Grader("math") as grader:
        assert grader.same("x+1", "1+x") is True
        (first,) = children()
        os.kill(first, signal.SIGKILL)
        assert grader.same("x+2", "2+x") is True
        assert grader.same("x+3", "2+x") is False
        (second,) = children()
        assert second != first


def kill_each(times: int, killed: list[int], stop: threading.Event) -> None:
    """Kill every process of the grader as soon as it is there, as the kernel does when memory ends."""
    while len(killed) < times and not stop.is_set():
        for child in children() - set(killed):
            os.kill(child, signal.SIGKILL)
            killed.append(child)
        stop.wait(0.05)


def killing(times: int) -> tuple[list[int], threading.Event, threading.Thread]:
    killed: list[int] = []
    stop = threading.Event()
    return killed, stop, threading.Thread(target=kill_each, args=(times, killed, stop))


def test_one_that_is_killed_while_it_starts_is_replaced():
    killed, stop, killer = killing(1)
    with Grader("math") as grader:
        killer.start()
        try:
            assert grader.same("x+1", "1+x") is True
        finally:
            stop.set()
            killer.join()
    assert len(killed) == 1


def test_when_none_can_start_that_is_told_and_nothing_is_graded():
    _, stop, killer = killing(ATTEMPTS + 1)
    with Grader("math") as grader:
        killer.start()
        try:
            with pytest.raises(UserError, match="cannot start") as told:
                grader.grade([("1+x", "x+1")])
        finally:
            stop.set()
            killer.join()
    assert "\n" not in str(told.value)
    assert not children()


@pytest.mark.slow
def test_one_that_is_killed_over_a_pair_gives_the_pair_to_the_next():
    """The second process spends the CPU time that the first was not left."""
    with Grader("math", timeout_s=3.0) as grader:
        assert grader.same("x+1", "1+x") is True
        (first,) = children()
        threading.Timer(0.5, os.kill, [first, signal.SIGKILL]).start()
        assert grader.grade([(SLOW, "5"), ("2+x", "x+2")]) == [Verdict.TIMED_OUT, Verdict.RIGHT]
        assert first not in children()


@pytest.mark.slow
@pytest.mark.parametrize(
    "hard", [TOWER, FACTORIAL, r"2^{2^{40}}", r"\binom{10^9}{10^8}", "((((9!)!)!)!)", SLOW]
)
def test_what_cannot_be_computed_times_out_and_the_next_pair_is_answered(hard):
    with Grader("math", timeout_s=2.0) as grader:
        assert grader.grade([(hard, "5"), ("1+x", "x+1")]) == [Verdict.TIMED_OUT, Verdict.RIGHT]
        assert grader.classes([hard, "5", hard]) == [0, 1, 0]


@pytest.mark.slow
def test_a_busy_machine_changes_no_verdict():
    """With six processes that burn the same CPUs, a hard pair is still out of time, and easy ones are not."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    pairs = [
        ("1+x", "x+1"),
        (SLOW, "5"),
        ("x-1", "x+1"),
        (r"\frac{x}{2}", r"\frac{1}{2}x"),
        (FACTORIAL, "5"),
    ]
    try:
        with Grader("math", timeout_s=4.0) as grader:
            verdicts = grader.grade(pairs)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    out = Verdict.TIMED_OUT
    assert verdicts == [Verdict.RIGHT, out, Verdict.WRONG, Verdict.RIGHT, out]


@pytest.mark.slow
def test_a_parent_that_is_killed_leaves_no_process():
    script = (
        "import time\nfrom w2s_core.answers.grading import Grader\n"
        "with Grader('math') as grader:\n    print(grader.same('x+1', '1+x'), flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"True\n"
    (child,) = children(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert is_gone(child)


def test_a_signal_that_the_parent_ignores_still_ends_the_child():
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        with Grader("math") as grader:
            assert grader.same("x+1", "1+x") is True
            (child,) = children()
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines()
            )
    finally:
        signal.signal(signal.SIGPROF, before)
    assert not int(status["SigIgn"], 16) & 1 << (signal.SIGPROF - 1)
