"""The kind of processor, which decides the last digits of sums, and with them what a training ends in."""

import os
import platform
from functools import cache
from pathlib import Path

GPUS = Path("/proc/driver/nvidia/gpus")


@cache
def processor_name() -> str:
    """Its name as the machine gives it, such as `AMD EPYC 7763 64-Core Processor`; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named and named[0] else platform.processor() or platform.machine()


def machine_name(device: str) -> str:
    """What decides how sums are rounded: the processor and, unless `device` is "cpu", the kinds of GPU.

    Torch is not asked, whose import takes seconds. Where a GPU has no name, or a machine has several kinds, the name
    is narrower than need be.
    """
    return " + ".join([processor_name(), *(() if device == "cpu" else _gpu_names())])


@cache
def _gpu_names() -> tuple[str, ...]:
    models = {
        line.partition(":")[2].strip()
        for path in GPUS.glob("*/information")
        for line in path.read_text(errors="replace").splitlines()
        if line.startswith("Model:")
    }
    if len(models) == 1:
        return tuple(models)
    has_gpu = bool(models) or any(
        Path(driver).exists() for driver in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    )
    return (f"GPU of {platform.node()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}",) if has_gpu else ()
