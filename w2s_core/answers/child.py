"""One process of `grading_pool` (`python -m w2s_core.answers.child SECONDS`).

Pairs come in on stdin, one JSON list a line, and `true`, `false` or `null` (undecided) goes out for each. When a part
of a pair uses up its CPU time the kernel ends the process (SIGPROF), whatever code is running then.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

MEMORY_LIMIT = 4 * 2**30
"""Bytes of address space that a process may have."""

_UNLIMITED: dict[str, Any] = {"timeout_seconds": None, "raise_on_error": True}
"""Our own limit decides; its own would turn into "different" under load."""


def _serve(timeout_s: float) -> None:
    """Answer pairs until stdin ends. What a library prints cannot get between the words."""
    words = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_process()
    try:
        decide = _algebra(timeout_s)
        decide("x+1", "1+x")  # loads what math-verify and sympy load late
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


def _algebra(timeout_s: float) -> Callable[[str, str], bool | None]:
    """A function that says whether two keys are the same by math-verify. Each part has its own CPU time, so that
    what an earlier pair left in a cache cannot change a verdict.
    """
    from math_verify import LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)  # it warns that its own limits are off, once a process

    def timed(part: Callable[[], Any], otherwise: Any) -> Any:
        signal.setitimer(signal.ITIMER_PROF, timeout_s)
        try:
            return part()
        except MemoryError:
            os._exit(1)  # nothing can be trusted to work any more; the parent tries again in a new process
        except RecursionError:
            return None
        except Exception:  # noqa: BLE001 - what cannot be read or compared is not the same
            return otherwise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    @lru_cache(maxsize=1024)
    def read(key: str) -> Any:
        return timed(lambda: _parsed(parse, LatexExtractionConfig(), key), [])

    def decide(one: str, other: str) -> bool | None:
        left, right = read(one), read(other)
        if left is None or right is None:
            return None
        if not left or not right:
            return False
        # both ways round, since math-verify is not symmetric
        said = [timed(partial(verify, *pair, **_UNLIMITED), False) for pair in ((left, right), (right, left))]
        return True if True in said else None if None in said else False

    return decide


def _parsed(parse: Callable[..., Any], config: Any, key: str) -> Any:
    """The whole key as one formula: math-verify's usual search would pick the last number out of any text."""
    return parse(
        f"${key}$",
        extraction_config=[config],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
