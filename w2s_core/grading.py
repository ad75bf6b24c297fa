"""Decide whether answers are the same: exactly where that is possible, else by math-verify in a process of its own.

math-verify can run for ever on a power tower, and its own time limits turn into "different" under load. So it runs in
a child process that the kernel kills once one pair has used up its CPU time (not wall time: a busy machine changes
nothing); such a pair is `timed_out`, a verdict of its own.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Literal, Self

from w2s_core.answers import Canonical, Verdict, canonical, check_rule
from w2s_core.errors import UserError

Match = Literal["value", "string"]
CPU_SECONDS = 5.0
"""CPU time that one hard pair may take."""
WALL_FACTOR = 60
"""Wall time, in CPU limits, after which a child that does not even compute counts as hung."""
TRIES = 3
"""Children that may die of something else (out of memory, a kill from outside) before the pair counts as timed out."""


class Grader:
    """Compares answers under one rule. Use it in a `with`: hard pairs start a child process, which must end.

    Args:
        rule: how answers are read (`answers.RULES`).
        match: "value", or "string" for the authors' released behaviour.
        cpu_seconds: limit for one pair that needs math-verify.
    """

    def __init__(self, rule: str, match: Match = "value", cpu_seconds: float = CPU_SECONDS) -> None:
        check_rule(rule)
        if match not in ("value", "string"):
            raise UserError(f"unknown match '{match}'; known: value, string")
        self.rule, self.match = rule, match
        self._child = _Child(cpu_seconds)
        self._canonical: dict[str, Canonical] = {}
        self._decided: dict[tuple[str, str], bool | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def grade(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        """Verdicts on pairs of an extracted answer (None: unparsed) and the gold answer."""
        return [self._verdict(answer, gold) for answer, gold in pairs]

    def classes(self, answers: Sequence[str | None]) -> list[int | None]:
        """For each answer the number of its class of equal answers, numbered as they first appear; None for none.

        A pair that times out counts as different: two answers agree only where that is shown.
        """
        members: list[str] = []
        numbers: dict[Canonical, int] = {}
        found: list[int | None] = []
        for answer in answers:
            if answer is None:
                found.append(None)
                continue
            form = self._form(answer)
            if form not in numbers:
                numbers[form] = self._class_of(answer, members)
            found.append(numbers[form])
        return found

    def _class_of(self, answer: str, members: list[str]) -> int:
        for number, member in enumerate(members):
            if self.same(member, answer):
                return number
        members.append(answer)
        return len(members) - 1

    def same(self, one: str, other: str) -> bool | None:
        """Whether two answers are the same; None where the comparison timed out."""
        first, second = self._form(one), self._form(other)
        if first.equals(second):
            return True
        if self.match == "string" or self.rule != "math" or _plainly_different(first, second):
            return False
        key = (one, other)
        if key not in self._decided:
            self._decided[key] = self._child.compare(one, other)
        return self._decided[key]

    def _verdict(self, answer: str | None, gold: str) -> Verdict:
        if answer is None:
            return Verdict.UNPARSED
        same = self.same(gold, answer)
        if same is None:
            return Verdict.TIMED_OUT
        return Verdict.RIGHT if same else Verdict.WRONG

    def _form(self, answer: str) -> Canonical:
        if answer not in self._canonical:
            self._canonical[answer] = canonical(answer, self.rule, self.match)
        return self._canonical[answer]


def _plainly_different(one: Canonical, other: Canonical) -> bool:
    """Both numbers, or at least one a mere word: nothing that algebra could make equal."""
    if one.value is not None and other.value is not None:
        return True
    return any(form.value is None and form.text.isalpha() and len(form.text) > 1 for form in (one, other))


class _Child:
    """One math-verify process, started when first needed, replaced when it dies."""

    def __init__(self, cpu_seconds: float) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def compare(self, gold: str, answer: str) -> bool | None:
        """math-verify's word on a pair; None when it used up its time, memory or tries."""
        for _ in range(TRIES):
            process = self._running()
            reply = self._ask(process, json.dumps([gold, answer]).encode() + b"\n")
            if reply in (b"same\n", b"different\n"):
                return reply == b"same\n"
            if reply == b"gave up\n":
                return None
            status = self.stop()
            if status == -signal.SIGPROF or reply is None:
                return None
        return None

    def stop(self) -> int | None:
        """Kill the child, if there is one, and return its exit status (minus the signal that ended it)."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(20):  # give a child that is just dying the time to tell of what
            if process.poll() is not None:
                break
            time.sleep(0.005)
        else:
            process.kill()
        process.stdin.close()
        process.stdout.close()
        return process.wait()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            command = [sys.executable, "-m", "w2s_core.grading_child", str(self._cpu_seconds)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        return self._process

    def _ask(self, process: "subprocess.Popen[bytes]", line: bytes) -> bytes | None:
        """Send a line and read one; b"" when the child died, None when it neither answers nor computes."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
        except BrokenPipeError:
            return b""
        reply = b""
        deadline = time.monotonic() + WALL_FACTOR * self._cpu_seconds + 60
        while not reply.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(process.stdout.fileno(), 64)
            if not part:
                return b""
            reply += part
        return reply
