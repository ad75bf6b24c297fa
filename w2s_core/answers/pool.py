"""Processes that run algebra, or scorers, for `grading`: as many as there is work for, each replaced when lost."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Literal

from w2s_core.answers.child import OUT_OF_MEMORY, READ
from w2s_core.errors import UserError

Pair = tuple[str, str]
Decision = bool | Literal["undecided"] | None
"""Whether a pair is the same; "undecided" where algebra came to no end, None where the limits ended it."""

ATTEMPTS = 3
"""A pair whose process is lost (killed from outside) is tried in a new one, so many times in all."""
START_LIMIT = 300.0
"""Seconds of wall time until a new process must be ready."""


class _Lost(Exception):
    """The process is gone or stuck, and its pair is not decided."""


class _PastLimits(Exception):
    """The process spent its CPU time, and the kernel ended it; or it needed too much memory."""


class _Worker:
    """One process. It says `ready` once, and then three words for each pair: two that it has read a side, and a
    decision.
    """

    def __init__(self, timeout_s: float, wall_s: float, kind: str) -> None:
        self._wall_s = wall_s
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.child", str(timeout_s), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            close_fds=True,
        )
        self.pair: Pair | None = None
        self.read_sides = 0
        self.ready = False
        self.deadline = time.monotonic() + START_LIMIT

    def fileno(self) -> int:
        """The descriptor that its words come from."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, pair: Pair) -> None:
        """Ask about a pair."""
        assert self._process.stdin is not None
        self.pair, self.read_sides = pair, 0
        self.deadline = time.monotonic() + self._wall_s
        with contextlib.suppress(BrokenPipeError):  # reading finds out how it ended
            self._process.stdin.write(json.dumps(pair).encode() + b"\n")
            self._process.stdin.flush()

    def read(self) -> str:
        """The last word that has come, empty where it is only that a side is read.

        Raises:
            _PastLimits, _Lost: it has ended instead.
        """
        words = os.read(self.fileno(), 4096)
        if words.endswith(b"\n"):
            self.read_sides += words.count(READ)
            return words.replace(READ, b"").decode().strip()
        self.end(patience=10)
        is_past = self.pair is not None and self._process.returncode in (-signal.SIGPROF, OUT_OF_MEMORY)
        raise _PastLimits if is_past else _Lost

    def end(self, patience: float = 0) -> None:
        """Wait for its end as long as `patience` seconds, then kill it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def environment() -> dict[str, str]:
    """The same modules as here, whatever the current folder holds; sets in one order, so that verdicts repeat."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(dict.fromkeys([package, *filter(None, sys.path)]))
    return os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"}


class Pool:
    """As many processes as there is work for, at most `limit`; each is replaced when lost. `kind`: see `child`."""

    def __init__(self, limit: int, timeout_s: float, wall_s: float, kind: str = "algebra") -> None:
        self._kind = kind
        self._limit = max(1, limit)
        self._timeout_s = timeout_s
        self._wall_s = wall_s
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._unreadable: set[str] = set()  # formulas whose reading alone is past the limits

    def decide(self, pairs: list[Pair]) -> dict[Pair, Decision]:
        """Whether each pair is the same; None where its limits ended it. Ends only when all are decided."""
        decided: dict[Pair, Decision] = {}
        losses: dict[Pair, int] = {}
        waiting = deque(pairs)
        try:
            self._pass_over(waiting, decided)
            while len(decided) < len(pairs):
                self._hand_out(waiting, len(pairs) - len(decided))
                for worker in self._heard():
                    self._take(worker, decided, losses, waiting)
        except BaseException:
            self.close()  # an interrupt must leave no half-asked process behind
            raise
        return decided

    def close(self) -> None:
        """End all processes."""
        while self._workers:
            self._workers.pop().end(patience=0.5)

    def _pass_over(self, waiting: deque[Pair], decided: dict[Pair, Decision]) -> None:
        """Decide the waiting pairs that hold a formula which another pair has shown to be past the limits."""
        hopeless = [pair for pair in waiting if not self._unreadable.isdisjoint(pair)]
        decided |= dict.fromkeys(hopeless)
        if hopeless:
            left = [pair for pair in waiting if pair not in decided]
            waiting.clear()
            waiting.extend(left)

    def _hand_out(self, waiting: deque[Pair], left: int) -> None:
        while len(self._workers) < min(self._limit, left):
            self._workers.append(_Worker(self._timeout_s, self._wall_s, self._kind))
        for worker in self._workers:
            if waiting and worker.ready and worker.pair is None:
                worker.send(waiting.popleft())

    def _heard(self) -> list[_Worker]:
        """The workers that have said something, have ended, or are over their wall time."""
        expected = [worker for worker in self._workers if worker.pair is not None or not worker.ready]
        soonest = min(worker.deadline for worker in expected)
        heard, _, _ = select.select(expected, [], [], max(0.0, soonest - time.monotonic()))
        now = time.monotonic()
        return [worker for worker in expected if worker in heard or worker.deadline <= now]

    def _take(
        self,
        worker: _Worker,
        decided: dict[Pair, Decision],
        losses: dict[Pair, int],
        waiting: deque[Pair],
    ) -> None:
        try:
            word = self._word(worker)
        except _PastLimits:
            assert worker.pair is not None
            self._workers.remove(worker)
            decided[worker.pair] = None
            self._unreadable.update(worker.pair[worker.read_sides : worker.read_sides + 1])
            self._pass_over(waiting, decided)
        except _Lost:
            self._workers.remove(worker)
            self._retry(worker, decided, losses, waiting)
        else:
            if not word:
                return
            if worker.pair is None:
                self._started(worker, word)
            else:
                decided[worker.pair] = json.loads(word)
                worker.pair = None

    def _word(self, worker: _Worker) -> str:
        if select.select([worker], [], [], 0)[0]:
            return worker.read()
        worker.end()
        raise _Lost

    def _retry(
        self,
        worker: _Worker,
        decided: dict[Pair, Decision],
        losses: dict[Pair, int],
        waiting: deque[Pair],
    ) -> None:
        pair = worker.pair
        if pair is None:
            self._failed_starts += 1
            if self._failed_starts >= ATTEMPTS:
                raise UserError("the grader's process cannot start: it ended before it was ready")
            return
        losses[pair] = losses.get(pair, 0) + 1
        if losses[pair] < ATTEMPTS:
            waiting.appendleft(pair)
        else:
            decided[pair] = None

    def _started(self, worker: _Worker, word: str) -> None:
        if word != "ready":
            raise UserError(f"the grader's process cannot start: {word}")
        worker.ready = True
        self._failed_starts = 0
