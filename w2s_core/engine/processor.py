"""The kind of processor, which decides the last digits of sums, and with them what a training ends in."""

import platform
from functools import cache
from pathlib import Path


@cache
def processor_name() -> str:
    """Its name as the machine gives it, such as `AMD EPYC 7763 64-Core Processor`; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named and named[0] else platform.processor() or platform.machine()
