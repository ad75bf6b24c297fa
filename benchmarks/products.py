"""Products with the weights of a large base: torch's own (MKL), oneDNN, and oneDNN with packed weights.

python benchmarks/products.py   about a minute; prints billions of float operations a second by shape, and writes
                                benchmarks/products.txt

The shapes are those of a base of 135 M parameters (hidden 576, intermediate 1,536, vocabulary 49,152). The three take
turns, and the fastest of seven turns counts.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from w2s_core.engine.processor import processor_name
from w2s_core.models.machine import onednn_is_faster
from w2s_core.models.products import pack, product

ROWS = (1, 16, 64, 256, 1024)
SHAPES = ((576, 576), (192, 576), (1536, 576), (576, 1536), (49152, 576))
TURNS = 7


def seconds(multiply: Callable[[], Any], times: int) -> float:
    """Seconds of a product, over some of them."""
    started = time.perf_counter()
    for _ in range(times):
        multiply()
    return (time.perf_counter() - started) / times


def measure(rows: int, shape: tuple[int, int]) -> list[float]:
    """GFLOPS of the three."""
    out, width = shape
    layer, x = torch.nn.Linear(width, out, bias=False), torch.randn(rows, width)
    weight: Any = layer.weight.detach()
    model: Any = torch.nn.Sequential(layer)
    model.num_parameters = lambda: out * width
    pack(model)
    ways: list[Callable[[], Any]] = [
        lambda: functional.linear(x, weight),
        lambda: product(x, weight),
        lambda: model(x),
    ]
    operations = 2 * rows * out * width
    times = max(2, int(5e8 / operations))
    turns = [[seconds(way, times) for way in ways] for _ in range(TURNS)]
    return [operations / min(of_way) / 1e9 for of_way in zip(*turns, strict=True)]


@torch.inference_mode()
def main() -> None:
    """Measure, print, and keep the output."""
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    lines = [
        f"{processor_name()}, torch {torch.__version__}, {threads} threads, load {os.getloadavg()[0]:.1f} at the start",
        f"large bases use oneDNN here: {'yes' if onednn_is_faster() else 'no'}",
        f"{'GFLOPS':>6}{'rows':>6}{'weight':>14}{'MKL':>8}{'oneDNN':>8}{'packed':>8}",
    ]
    for rows in ROWS:
        for shape in SHAPES:
            rates = "".join(f"{rate:8.0f}" for rate in measure(rows, shape))
            lines.append(f"{rows:12}{'x'.join(map(str, shape)):>14}{rates}")
    print("\n".join(lines))
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
