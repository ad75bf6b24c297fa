"""Batches of documents for pretraining: each is a function of its step's number, so they can be made ahead."""

import random
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from w2s_core.lab.bases import Recipe, Texts
from w2s_core.lab.corpus import documents
from w2s_core.lab.tokenizer import build_tokenizer

Batch = tuple[Tensor, Tensor]
AHEAD = 2
"""Batches that each reader has made, or is making, before they are asked for."""


def batch(tokenizer: Any, task: str, texts: Texts, size: int, seed: str) -> Batch:
    """Token ids and loss weights, both [size, longest document]; padding has weight 0."""
    stream = documents(seed, texts.task or task, texts.kinds(), texts.traits, texts.levels, texts.questions)
    # EOS closes a document straight behind its last answer: fine-tuning by adapters cannot teach a token whose
    # embedding the base never learned.
    closed = [text.rstrip("\n") + tokenizer.eos_token for text in islice(stream, size)]
    rows = tokenizer(closed, add_special_tokens=False).input_ids
    longest = max(map(len, rows))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    question, answer = tokenizer.convert_tokens_to_ids(["Question", "Answer"])
    inside = (ids == question).cumsum(1) > (ids == answer).cumsum(1)
    weights = torch.where(inside, texts.question_weight, 1.0)
    return ids, weights.masked_fill(ids == pad, 0.0)


def batches(recipe: Recipe, name: str, first: int, readers: int = 0) -> Iterator[Batch]:
    """The batches of the base called `name`, from step `first` to its last.

    readers: processes that make them ahead of time; with 0 each is made here when it is asked for. A GPU would wait
    for one process most of the time. Their number changes no batch.
    """
    steps = range(first, recipe.bases[name].steps)
    if not readers:
        yield from (_of_step(recipe, name, step) for step in steps)
        return
    with ProcessPoolExecutor(readers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        waiting: list[Future[Batch]] = []
        for step in steps:
            waiting.append(pool.submit(_of_step, recipe, name, step))
            if len(waiting) > AHEAD * readers:
                yield waiting.pop(0).result()
        yield from (future.result() for future in waiting)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _of_step(recipe: Recipe, name: str, step: int) -> Batch:
    base = recipe.bases[name]
    reading, read = base.reading(step)
    tokenizer = _tokenizer(recipe.context, recipe.task)
    fixed, size = _growing(recipe.texts[reading.texts], reading.batch_size, read, f"{base.seed}-{step}")
    return batch(tokenizer, recipe.task, fixed, size, f"{base.seed}-{step}")


def _growing(texts: Texts, size: int, read: float, seed: str) -> tuple[Texts, int]:
    """Where documents grow, the longest that may come grow until half is read.

    Those of one step are of one length, and short ones are more: no step is mostly padding.
    """
    if texts.fewest is None:
        return texts, size
    longest = texts.fewest + round((texts.questions - texts.fewest) * min(1.0, read / 0.5))
    questions = random.Random(f"questions-{seed}").randint(texts.fewest, longest)
    fixed = texts.model_copy(update={"questions": questions, "fewest": None})
    return fixed, round(size * texts.questions / questions)


@lru_cache
def _tokenizer(context: int, task: str) -> Any:
    return build_tokenizer(context, task)
