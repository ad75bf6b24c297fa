"""Sampling against plain `model.generate`, side by side on the lab's strong model.

    python benchmarks/sampling.py > benchmarks/sampling.txt        about 8 minutes on 2 idle cores

Both sides answer the same prompts of the mini task, with the same limit, the same stop string and the same batch
size in responses. `generate` gets what it offers: num_return_sequences for the samples of a prompt, left padding,
and prompts sorted by length. Runs are interleaved and medians compared, so that the ratios hold on a busy machine;
absolute rates do not; where the machine is busy, the ratio of CPU time with one thread is the one to trust.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging

from w2s_core.prompting import STOP, few_shot_prefix, zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.sampling.stopping import MAY_STOP, Stopping
from w2s_core.tasks import load_task

STRONG = Path(__file__).parents[1] / "experiments/mini/bases/strong"
LIMIT = 96  # tokens: longer than all but rare responses


class Timing(NamedTuple):
    """Median seconds by the clock and of the processor, and the texts of the last round."""

    wall: float
    cpu: float
    texts: list[str]


Sampler = Callable[[list[tuple[str, str]], SamplingParams, str], list[str]]


class AtStop(StoppingCriteria):
    """The engine's own stop handling for `generate`, whose own needs a tokenizer with letters in its vocabulary."""

    def __init__(self, stopping: Stopping, prompt: int) -> None:
        self.stopping, self.prompt = stopping, prompt

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        done = torch.zeros(len(input_ids), dtype=torch.bool)
        tails = input_ids[:, max(self.prompt, input_ids.shape[1] - self.stopping.tail) :]
        for row in (self.stopping.kinds[input_ids[:, -1]] == MAY_STOP).nonzero().flatten().tolist():
            done[row] = self.stopping.completes(tails[row].tolist())
        return done


def by_generate(model: Any, tokenizer: Any, batch_size: int) -> Sampler:
    """The baseline: texts, cut and stripped as the engine does it."""
    stopping = Stopping(tokenizer, [tokenizer.eos_token_id], STOP, model.config.vocab_size, "cpu")

    def sample(prompts: list[tuple[str, str]], params: SamplingParams, prefix: str) -> list[str]:
        texts = sorted((prefix + text for _, text in prompts), key=len, reverse=True)
        drawing = {"do_sample": True, "temperature": params.temperature, "top_k": 0, "top_p": 1.0}
        made = []
        for first in range(0, len(texts), max(1, batch_size // params.n)):
            part = texts[first : first + max(1, batch_size // params.n)]
            inputs = tokenizer(part, return_tensors="pt", padding=True, padding_side="left")
            output = model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                max_new_tokens=LIMIT,
                num_return_sequences=params.n,
                stopping_criteria=StoppingCriteriaList([AtStop(stopping, inputs.input_ids.shape[1])]),
                **(drawing if params.temperature else {"do_sample": False}),
            )
            made += tokenizer.batch_decode(output[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
        return [text.split(STOP[0])[0].strip() for text in made]

    return sample


def by_engine(model: Any, tokenizer: Any, batch_size: int) -> Sampler:
    engine = TransformersEngine(model, tokenizer, batch_size=batch_size)

    def sample(prompts: list[tuple[str, str]], params: SamplingParams, prefix: str) -> list[str]:
        ordered = sorted(prompts, key=lambda prompt: len(prompt[1]), reverse=True)
        return [one.text for row in engine.generate(ordered, params, prefix=prefix) for one in row]

    return sample


def compare(samplers: dict[str, Sampler], work: tuple[Any, ...], rounds: int) -> dict[str, Timing]:
    """Each sampler's medians and its texts; the samplers take turns."""
    walls: dict[str, list[float]] = {name: [] for name in samplers}
    cpus: dict[str, list[float]] = {name: [] for name in samplers}
    texts = {}
    for _ in range(rounds):
        for name, sample in samplers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            texts[name] = sample(*work)
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    medians = {name: (statistics.median(walls[name]), statistics.median(cpus[name])) for name in samplers}
    return {name: Timing(*medians[name], texts[name]) for name in samplers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side, of which the median counts")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256, 512], help="in responses")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(STRONG)
    model, plain = (
        AutoModelForCausalLM.from_pretrained(STRONG, dtype=torch.float32).eval() for _ in range(2)
    )
    task = load_task("mini", {})
    asked = [(one.id, zero_shot(one.question)) for one in task.load("train_2")]
    demonstrations = few_shot_prefix((one.question, one.solution) for one in task.load("train_1")[:4])
    greedy = SamplingParams(LIMIT)
    cases = {
        "n = 10 samples, T = 1": (asked[:50], SamplingParams(LIMIT, n=10, temperature=1.0), ""),
        "few-shot, greedy": (asked[:128], greedy, demonstrations),
        "zero-shot, greedy": (asked[:128], greedy, ""),
    }
    length = len(tokenizer(demonstrations).input_ids)
    print(
        f"50 prompts x 10 samples; 128 prompts greedy, {length} tokens of demonstrations; limit {LIMIT} tokens"
    )
    print(f"{args.rounds} rounds, medians; torch {torch.__version__}; seconds by the clock, and both ratios")
    print(f"{os.cpu_count()} cores, {os.getloadavg()[0]:.1f} processes running at the start")
    print(f"{'case':22} threads batch generate  engine  ratio  ratio of CPU time  equal texts")
    for threads in args.threads:
        torch.set_num_threads(threads)
        for name, work in cases.items():
            for batch_size in args.batch_sizes:
                samplers = {
                    "generate": by_generate(plain, tokenizer, batch_size),
                    "engine": by_engine(model, tokenizer, batch_size),
                }
                slow, fast = compare(samplers, work, args.rounds).values()
                equal = sum(a == b for a, b in zip(slow.texts, fast.texts, strict=True))
                same = "-" if work[1].temperature else f"{equal}/{len(fast.texts)}"
                times = (
                    f"{slow.wall:8.2f}{fast.wall:8.2f}{slow.wall / fast.wall:7.1f}{slow.cpu / fast.cpu:19.1f}"
                )
                print(f"{name:22} {threads:7} {batch_size:5} {times}  {same}", flush=True)


if __name__ == "__main__":
    main()
