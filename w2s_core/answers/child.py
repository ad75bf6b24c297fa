"""One process of `pool` (`python -m w2s_core.answers.child SECONDS KIND`).

Pairs come in on stdin, one JSON list a line, and `true`, `false` or `"undecided"` goes out for each. When a part
of a pair uses up its CPU time the kernel ends the process (SIGPROF), whatever code is running then. `KIND` says what
decides: `algebra` two formulas, `scorer` an answer and the entry that it is scored by.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

MEMORY_LIMIT = 4 * 2**30
"""Bytes of address space that a process may have."""


def _serve(timeout_s: float, kind: str) -> None:
    """Answer pairs until stdin ends. What a library prints cannot get between the words."""
    words = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_process()
    try:
        decide = {"algebra": _algebra, "scorer": _scorer}[kind](timeout_s)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent tells it
        words.write(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n".encode())
        return
    words.write(b"ready\n")
    for line in sys.stdin.buffer:
        words.write(json.dumps(decide(*json.loads(line))).encode() + b"\n")


def _limit_process() -> None:
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes stdin
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    least = MEMORY_LIMIT if most == resource.RLIM_INFINITY else min(MEMORY_LIMIT, most)
    resource.setrlimit(resource.RLIMIT_AS, (least, most))


def _timed(timeout_s: float, part: Callable[[], Any]) -> Any:
    """What a part of a decision gives within its CPU time; None where it raises."""
    signal.setitimer(signal.ITIMER_PROF, timeout_s)
    try:
        return part()
    except MemoryError:
        os._exit(1)  # nothing can be trusted to work any more; the parent tries again in a new process
    except Exception:  # noqa: BLE001 - sympy raises dozens of types on formulas that it cannot compute
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _algebra(timeout_s: float) -> Callable[[str, str], bool | str]:
    """A function that says whether two formulas are the same, or "undecided".

    Each part (reading a side, comparing) has its own CPU time, so that what an earlier pair left in a cache cannot
    change a decision.
    """
    from w2s_core.answers import algebra

    logging.disable(logging.CRITICAL)  # math-verify warns that its own limits are off, once a process

    def decide(first: str, second: str) -> bool | str:
        for text in (first, second):
            _timed(timeout_s, partial(algebra.prepare, text))
        same = _timed(timeout_s, partial(algebra.equal, first, second))
        return "undecided" if same is None else bool(same)

    decide("x+1", "1+x")  # loads what sympy loads late
    return decide


def _scorer(timeout_s: float) -> Callable[[str, str], bool | str]:
    """A function that says whether an answer is right by the scorer of its entry (see `scorer`)."""
    from w2s_core.answers import scorer

    logging.disable(logging.CRITICAL)
    scorer.load()

    def decide(answer: str, entry: str) -> bool | str:
        scorer.prepare(entry)
        right = _timed(timeout_s, partial(scorer.is_right, answer, entry))
        return "undecided" if right is None else bool(right)

    return decide


if __name__ == "__main__":
    _serve(float(sys.argv[1]), sys.argv[2])
