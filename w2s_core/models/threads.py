"""How many threads torch gets on a CPU: a function of the base's size and of what the user gave, never of the load."""

import os
from typing import NamedTuple

LARGE = 20_000_000
"""From so many parameters on, products are large enough for several threads to gain; a base of 1 M loses by them."""


class Threads(NamedTuple):
    """Threads of a process for bases below `LARGE` parameters, and for those from there on."""

    small: int = 1
    large: int = 1

    def of(self, parameters: int) -> int:
        """The number for a base of so many parameters."""
        return self.large if parameters >= LARGE else self.small


def choose_threads(given: int | None, workers: int) -> Threads:
    """As many as the user gave; else one for small bases, and for large ones a worker's share of the cores."""
    if given is not None:
        return Threads(given, given)
    return Threads(1, max(1, cores() // workers))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
