"""What this machine has for models: cores, memory, and the threads that torch gets on a CPU.

Their number is a function of the base's size and of what the user gave, never of the load.
"""

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

LARGE = 20_000_000
"""From so many parameters on, products are large enough for several threads to gain; a base of 1 M loses by them."""

COPIED = 2_000_000_000
"""Of a base with more parameters sampling keeps no second copy of the weights, see `w2s_core.models.products`."""


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
    """The CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


@cache
def onednn_is_faster() -> bool:
    """Whether this processor multiplies float32 matrices faster by oneDNN than by MKL, which torch takes: with AVX-512,
    which MKL uses on Intel's processors alone (`benchmarks/products.py`). False where it is no Linux that tells.
    """
    lines = [line.partition(":") for line in _lines("/proc/cpuinfo")]
    fields = {name.strip(): value.split() for name, _, value in lines}
    return fields.get("vendor_id", ["GenuineIntel"]) != ["GenuineIntel"] and "avx512f" in fields.get(
        "flags", ()
    )


def is_packed(parameters: int) -> bool:
    """Whether sampling from a base in float32 on this processor keeps a second copy of its weights."""
    return LARGE <= parameters <= COPIED and onednn_is_faster()


def free_memory() -> int:
    """Bytes of memory that a new process can have: what the system calls available, within the container's limit."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        free = min(free, max(0, int(limit[0]) - int(used[0])))
    return free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
