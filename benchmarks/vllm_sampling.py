"""Sampling on a processor: the engine of transformers beside vLLM's CPU build, on one model, precision and prompts.

    .venv-vllm/bin/python benchmarks/vllm_sampling.py [MODEL] [--rounds N] [--threads N]

MODEL: a folder, by default models/smollm2 (`make models/smollm2`); `make test-vllm` installs `.venv-vllm`. The engines
take turns in one process, the one that rests using no processor. Told are tokens a second by the clock, since greedy
answers part where two tokens are nearly as likely and need not be of one length; medians of rounds. Both get all
threads: vLLM by itself would keep one core for its front end. Writes benchmarks/vllm_sampling.txt.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from w2s_core.engine.processor import processor_name
from w2s_core.models import base_ref, load_model, locate
from w2s_core.prompting import few_shot_prefix, zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.tasks import load_task

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 64  # tokens, as in experiments/real


def artifact(folder: Path, model: Path) -> tuple[Path, dict[str, Path]]:
    """A model without adapters."""
    ref = base_ref(model)
    (folder / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
    return folder, {ref: model}


def rates(engines: dict[str, Any], work: tuple[Any, ...], rounds: int) -> tuple[dict[str, float], int]:
    """Tokens a second of each engine, and how many responses both gave alike in the last round."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    texts: dict[str, list[str]] = {}
    for _ in range(rounds):
        for name, engine in engines.items():
            began = time.perf_counter()
            rows = engine.generate(*work[:2], prefix=work[2])
            took = time.perf_counter() - began
            responses = [one for row in rows for one in row]
            seconds[name].append(sum(one.tokens for one in responses) / took)
            texts[name] = [one.text for one in responses]
    first, second = texts.values()
    return (
        {name: statistics.median(values) for name, values in seconds.items()},
        sum(a == b for a, b in zip(first, second, strict=True)),
    )


def main() -> None:
    """Measure, print, and keep the output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / "models/smollm2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{options.threads - 1}")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

    import torch

    from w2s_core.sampling.vllm_engine import VllmEngine

    torch.set_num_threads(options.threads)
    task = load_task("mini", {})
    asked = [(one.id, zero_shot(one.question)) for one in task.load("train_2")]
    shown = few_shot_prefix((one.question, one.solution) for one in task.load("train_1")[:4])
    cases = {
        "zero-shot, greedy": (asked[:64], SamplingParams(LIMIT), ""),
        "four-shot, greedy": (asked[:64], SamplingParams(LIMIT), shown),
        "8 samples, T = 1": (asked[:32], SamplingParams(LIMIT, n=8, temperature=1.0), ""),
    }
    with tempfile.TemporaryDirectory() as place:
        folder, bases = artifact(Path(place), options.model)
        loaded, tokenizer = load_model(folder, bases)
        engines = {
            "transformers": TransformersEngine(loaded, tokenizer, batch_size=256),
            "vLLM": VllmEngine(locate(folder, bases), tokenizer, device="cpu", work=Path(place)),
        }
        lines = [
            f"{processor_name()}, {options.threads} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            f"{options.model.name}, {loaded.num_parameters():,} parameters, float32; {options.rounds} rounds",
            f"{'tokens a second':20}{'transformers':>14}{'vLLM':>10}{'ratio':>8}   alike",
        ]
        print("\n".join(lines), flush=True)
        for name, work in cases.items():
            by_engine, alike = rates(engines, work, options.rounds)
            ours, theirs = by_engine.values()
            same = "–" if work[1].temperature else f"{alike} of {len(work[0])}"
            lines.append(f"{name:20}{ours:14.0f}{theirs:10.0f}{ours / theirs:8.2f}   {same}")
            print(lines[-1], flush=True)
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
