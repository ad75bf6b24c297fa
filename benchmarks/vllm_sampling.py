"""Sampling on a processor: the engine of transformers beside vLLM's CPU build, on one model, precision and prompts.

    .venv-vllm/bin/python benchmarks/vllm_sampling.py [MODEL] [--rounds N] [--threads N]

MODEL: a folder, by default models/smollm2 (`make models/smollm2`); `make test-vllm` installs `.venv-vllm`. The engines
take turns, each in a process of its own that has ended before the other begins, since vLLM's keeps the processor busy
while it waits. Loading does not count, nor a first small request. Told are tokens a second by the clock, medians of
rounds: greedy answers part where two tokens are nearly as likely, and need not be of one length. Both get all threads;
vLLM by itself would keep one core for its front end. Then a profile of the first engine: where the processor's time
goes, and how fast its products with weights are beside a large product and beside reading the weights alone. Writes
benchmarks/vllm_sampling.txt.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from w2s_core.engine.processor import processor_name
from w2s_core.models import base_ref, load_model, load_tokenizer, locate
from w2s_core.prompting import few_shot_prefix, zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.tasks import load_task

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LIMIT = 64  # tokens, as in experiments/real
PROFILE = "profile"
PRODUCTS = ("mkldnn::_linear_pointwise", "aten::mm", "aten::addmm")
ATTENTION = ("aten::bmm", "aten::_scaled_dot_product", "aten::_softmax")


def artifact(folder: Path, model: Path) -> tuple[Path, dict[str, Path]]:
    """A model without adapters."""
    ref = base_ref(model)
    (folder / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
    return folder, {ref: model}


def cases() -> dict[str, tuple[list[tuple[str, str]], SamplingParams, str]]:
    """Prompts, settings and a prefix by name."""
    task = load_task("mini", {})
    asked = [(one.id, zero_shot(one.question)) for one in task.load("train_2")]
    shown = few_shot_prefix((one.question, one.solution) for one in task.load("train_1")[:4])
    return {
        "zero-shot, greedy": (asked[:64], SamplingParams(LIMIT), ""),
        "four-shot, greedy": (asked[:64], SamplingParams(LIMIT), shown),
        "8 samples, T = 1": (asked[:32], SamplingParams(LIMIT, n=8, temperature=1.0), ""),
    }


def measure(engine: str, model: Path, threads: int) -> dict[str, tuple[float, list[str]]]:
    """Tokens a second and the texts, by case."""
    import torch

    torch.set_num_threads(threads)
    measured = {}
    with tempfile.TemporaryDirectory() as place:
        folder, bases = artifact(Path(place), model)
        sampler: Any
        if engine == "vLLM":
            from w2s_core.sampling.vllm_engine import VllmEngine

            tokenizer = load_tokenizer(folder, bases)
            sampler = VllmEngine(locate(folder, bases), tokenizer, device="cpu", work=Path(place))
        else:
            sampler = TransformersEngine(*load_model(folder, bases), batch_size=256)
        for name, (prompts, params, prefix) in cases().items():
            sampler.generate(prompts[-2:], SamplingParams(2), prefix=prefix)
            began = time.perf_counter()
            rows = sampler.generate(prompts, params, prefix=prefix)
            took = time.perf_counter() - began
            responses = [one for row in rows for one in row]
            measured[name] = sum(one.tokens for one in responses) / took, [one.text for one in responses]
    return measured


def profile(model: Path, threads: int) -> dict[str, list[float]]:
    """Of the engine of transformers, by case: the shares of the processor's time that products with weights and
    attention take, and of those products GFLOPS and GB of weights read a second, by the clock.
    """
    import torch

    torch.set_num_threads(threads)
    profiled = {}
    with tempfile.TemporaryDirectory() as place:
        folder, bases = artifact(Path(place), model)
        sampler = TransformersEngine(*load_model(folder, bases), batch_size=256)
        work = Work(sampler.model)
        for name, (prompts, params, prefix) in cases().items():
            sampler.generate(prompts[-2:], SamplingParams(2), prefix=prefix)
            work.operations = work.bytes = 0
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as taken:
                sampler.generate(prompts, params, prefix=prefix)
            spent = {event.key: event.self_cpu_time_total / 1e6 for event in taken.key_averages()}
            products = sum(spent.get(operation, 0) for operation in PRODUCTS)
            attention = sum(seconds for key, seconds in spent.items() if key.startswith(ATTENTION))
            whole = sum(spent.values())
            rates = [work.operations / products / 1e9, work.bytes / products / 1e9]
            profiled[name] = [products / whole, attention / whole, *rates]
    return profiled


class Work:
    """Counts the operations of a model's linear layers, and the bytes of weights that they read."""

    def __init__(self, model: Any) -> None:
        import torch

        self.operations = self.bytes = 0
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(self._count)

    def _count(self, layer: Any, inputs: Any, output: Any) -> None:
        self.operations += 2 * output.numel() * layer.in_features
        self.bytes += layer.weight.nbytes


def limits(threads: int) -> tuple[float, float]:
    """GFLOPS of a large product, and GB a second of a sum over more than any cache holds; the best of ten."""
    import torch

    from benchmarks.products import seconds
    from w2s_core.models.products import product

    torch.set_num_threads(threads)
    x, weight, long = torch.randn(1024, 1536), torch.randn(1536, 1536), torch.ones(2**28)
    multiplying, reading = (
        min(seconds(work, 1) for _ in range(10)) for work in (lambda: product(x, weight), long.sum)
    )
    return 2 * 1024 * 1536**2 / multiplying / 1e9, long.nbytes / reading / 1e9


def child(engine: str, model: Path, threads: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    environment = os.environ | {
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "HF_HUB_OFFLINE": "1",
    }
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, str(model), "--threads", str(threads)]
        subprocess.run(
            [*command, "--measure", engine, file.name], check=True, env=environment, stdout=sys.stderr
        )
        measured: dict[str, Any] = json.loads(Path(file.name).read_text())
    return measured


def profile_lines(profiled: dict[str, list[float]], threads: int) -> list[str]:
    """The profile as a table, beneath what the machine could do."""
    product, read = limits(threads)
    head = f"profile of transformers (a large product: {product:.0f} GFLOPS; reading memory: {read:.0f} GB/s)"
    rows = [
        f"{name:20}{products:9.0%}{attention:11.0%}{1 - products - attention:7.0%}{flops:17.0f}{speed:15.0f}"
        for name, (products, attention, flops, speed) in profiled.items()
    ]
    return [
        head,
        f"{'':20}{'products':>9}{'attention':>11}{'rest':>7}{'their GFLOPS':>17}{'weights GB/s':>15}",
        *rows,
    ]


def main() -> None:
    """Measure, print, and keep the output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / "models/smollm2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        engine, file = options.measure
        work = profile(options.model, options.threads) if engine == PROFILE else None
        Path(file).write_text(json.dumps(work or measure(engine, options.model, options.threads)))
        return
    lines = [
        f"{processor_name()}, {options.threads} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        f"{options.model.name}, float32, at most {LIMIT} tokens; {options.rounds} rounds",
        f"{'tokens a second':20}{'transformers':>14}{'vLLM':>10}{'ratio':>8}   alike",
    ]
    rounds = [
        {engine: child(engine, options.model, options.threads) for engine in ("transformers", "vLLM")}
        for _ in range(options.rounds)
    ]
    for name, (prompts, params, _) in cases().items():
        ours, theirs = (
            statistics.median(each[engine][name][0] for each in rounds) for engine in ("transformers", "vLLM")
        )
        first, second = (rounds[-1][engine][name][1] for engine in ("transformers", "vLLM"))
        alike = sum(a == b for a, b in zip(first, second, strict=True))
        same = "–" if params.temperature else f"{alike} of {len(prompts)}"
        lines.append(f"{name:20}{ours:14.0f}{theirs:10.0f}{ours / theirs:8.2f}   {same}")
    lines += profile_lines(child(PROFILE, options.model, options.threads), options.threads)
    print("\n".join(lines))
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
