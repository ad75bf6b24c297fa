"""The process that runs math-verify: pairs come in as JSON lines, a word a pair goes out.

Started by `grading.py`. The kernel ends it (SIGPROF, whose default action is to terminate) when one pair uses up its
CPU time, whatever code is running then; memory is bounded too.
"""

import json
import logging
import resource
import signal
import sys

MEMORY = 2 * 1024**3
"""Bytes of address space: an expression that needs more is given up."""


def main() -> None:
    """Answer pairs until the input ends."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    limit = float(sys.argv[1])
    for line in sys.stdin:
        gold, answer = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            first, second = (parse(f"${text.strip('$ ')}$", parsing_timeout=None) for text in (gold, answer))
            reply = "same" if verify(first, second, timeout_seconds=None) else "different"
        except (MemoryError, RecursionError):
            reply = "gave up"
        except Exception:  # noqa: BLE001 - whatever a parser raises on untrusted text, it has not shown equality
            reply = "different"
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
