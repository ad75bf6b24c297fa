"""One process of `pool` (`python -m w2s_core.answers.child SECONDS KIND`).

Pairs come in on stdin, one JSON list a line. A line goes out as soon as each of the two sides is read, and then
`true`, `false`, `"undecided"` or `null` (beyond the bounds of `cost`). When a part of a pair uses up its CPU time the
kernel ends the process (SIGPROF), whatever code is running then; one that needs too much memory ends itself
(OUT_OF_MEMORY). `KIND` says what decides: `algebra` two formulas, `scorer` an answer and the entry that scores it.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 2**29
"""Bytes of address space that a process may take for pairs, beside what it has when it is ready (about 60 MB)."""
OUT_OF_MEMORY = 9
"""The exit status of a process that needed more."""
READ = b"read\n"


def _serve(timeout_s: float, kind: str) -> None:
    """Answer pairs until stdin ends. What a library prints cannot get between the words."""
    words = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _set_signals()
    try:
        make = {"algebra": _algebra, "scorer": _scorer}[kind]
        decide = make(timeout_s, lambda: words.write(READ))
        _limit_memory()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent tells it
        words.write(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n".encode())
        return
    words.write(b"ready\n")
    for line in sys.stdin.buffer:
        words.write(json.dumps(decide(*json.loads(line))).encode() + b"\n")


def _set_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes stdin
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})


def _limit_memory() -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    least = _address_space() + MEMORY_LIMIT
    resource.setrlimit(
        resource.RLIMIT_AS, (least if most == resource.RLIM_INFINITY else min(least, most), most)
    )


def _address_space() -> int:
    """Bytes that the process has; 0 where the system does not say, which leaves less for pairs."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _timed(timeout_s: float, part: Callable[[], Any]) -> Any:
    """What a part of a decision gives within its CPU time; None where it raises.

    Raises:
        cost.TooLarge: it is beyond the bounds.
    """
    from w2s_core.answers import cost

    signal.setitimer(signal.ITIMER_PROF, timeout_s)
    try:
        return part()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # nothing can be trusted to work any more
    except cost.TooLarge:
        raise
    except Exception:  # noqa: BLE001 - sympy raises dozens of types on formulas that it cannot compute
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _algebra(timeout_s: float, has_read: Callable[[], object]) -> Callable[[str, str], bool | str | None]:
    """A function that says whether two formulas are the same, "undecided", or None for what is beyond the bounds.

    Each part (reading a side, comparing) has its own CPU time, so that what an earlier pair left in a cache cannot
    change a decision. `has_read` is called after each reading.
    """
    from w2s_core.answers import algebra, cost

    algebra.equal("x+1", "1+x")  # loads what sympy loads late, in its own time
    logging.disable(logging.CRITICAL)  # math-verify warns that its own limits are off, once a process

    def decide(first: str, second: str) -> bool | str | None:
        try:
            for text in (first, second):
                _timed(timeout_s, partial(algebra.prepare, text))
                has_read()
            same = _timed(timeout_s, partial(algebra.equal, first, second))
        except cost.TooLarge:
            return None
        return "undecided" if same is None else bool(same)

    return decide


def _scorer(timeout_s: float, has_read: Callable[[], object]) -> Callable[[str, str], bool | str]:
    """A function that says whether an answer is right by the scorer of its entry (see `scorer`).

    Both sides count as read before they are scored: that an answer is past the limits with one entry says nothing of it
    with another.
    """
    from w2s_core.answers import scorer

    logging.disable(logging.CRITICAL)
    scorer.load()

    def decide(answer: str, entry: str) -> bool | str:
        scorer.prepare(entry)
        has_read()
        has_read()
        right = _timed(timeout_s, partial(scorer.is_right, answer, entry))
        return "undecided" if right is None else bool(right)

    return decide


if __name__ == "__main__":
    _serve(float(sys.argv[1]), sys.argv[2])
