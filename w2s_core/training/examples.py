"""From rows of text to token ids, and the order in which they are trained on.

All three methods encode through an encoder of `w2s_core.models`, so that special tokens and completion masks agree
between them and with sampling. No torch here: these are lists of integers.
"""

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_core.errors import StopBranch, UserError
from w2s_core.training.settings import Method, TrainSettings

IGNORED = -100
"""The label of a token that is in the context and not in the loss."""

CHUNK = 16
"""Batches are made of rows of like length within chunks of so many batches: less padding, and still a shuffle."""


@dataclass(frozen=True)
class Example:
    """One row as token ids: a prompt, and its completion (SFT) or its chosen and rejected completions."""

    prompt: list[int]
    completions: tuple[list[int], ...]

    @property
    def tokens(self) -> int:
        """Tokens that a model reads for it: the prompt is read once per completion."""
        return sum(len(self.prompt) + len(completion) for completion in self.completions)

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence."""
        return len(self.prompt) + max(map(len, self.completions))

    def columns(self) -> dict[str, list[int]]:
        """What TRL's collators read: input ids and labels for SFT, or the three parts of a pair."""
        if len(self.completions) == 1:
            (completion,) = self.completions
            return {
                "input_ids": self.prompt + completion,
                "labels": [IGNORED] * len(self.prompt) + completion,
            }
        chosen, rejected = self.completions
        return {"prompt_ids": self.prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def encode_rows(
    encoder: Any, rows: Sequence[Mapping[str, Any]], method: Method, limit: int
) -> tuple[list[Example], int]:
    """The rows as token ids, and how many were left out because they are longer than `limit` tokens.

    encoder: how the model is asked, as in sampling (`w2s_core.models.encoder_of`).

    Raises:
        StopBranch: there are no rows.
        UserError: a row lacks a field, or every row is too long.
    """
    if not rows:
        raise StopBranch(f"{method}: nothing to train on, the set is empty")
    fields = ("response",) if method == "sft" else ("chosen", "rejected")
    encoded = [_encode(encoder, row, fields) for row in rows]
    examples = [example for example in encoded if example.longest <= limit]
    if not examples:
        shortest = min(example.longest for example in encoded)
        raise UserError(
            f"{method}: all {len(rows)} rows are longer than {limit} tokens (the shortest has {shortest});"
            " raise max_length, if the model's context allows it"
        )
    return examples, len(rows) - len(examples)


def _encode(encoder: Any, row: Mapping[str, Any], fields: Sequence[str]) -> Example:
    for name in ("question", *fields):
        if not isinstance(row.get(name), str):
            raise UserError(f"training row {row.get('id')!r}: '{name}' has to be text, got {row.get(name)!r}")
    prompt = encoder.prompt(row["question"])
    return Example(prompt, tuple(encoder.completion(row[name]) for name in fields))


@dataclass(frozen=True)
class BatchPlan:
    """The whole order of a training: `order` holds row numbers, `batch` of them to a step."""

    order: list[int]
    batch: int
    steps: int

    @property
    def full_steps(self) -> int:
        """The steps with a whole batch: the last one may have less."""
        return len(self.order) // self.batch

    def past(self, step: int) -> str:
        """A digest of the rows that the first `step` steps train on, in order."""
        return hashlib.sha256(json.dumps(self.order[: step * self.batch]).encode()).hexdigest()

    def micro_batches(self, at_once: int, rank: int = 0, processes: int = 1) -> list[list[int]]:
        """The row numbers that process `rank` of `processes` reads, at most `at_once` of them together, in order.

        The rows of a step are cut up and dealt out in turn, so that any number of processes trains on the same rows at
        each step. Where a step has too few rows for all, some get an empty micro-batch: all processes have to take part
        in the sum of gradients.
        """
        dealt = []
        for start in range(0, len(self.order), self.batch):
            rows = self.order[start : start + self.batch]
            cut = [rows[i : i + at_once] for i in range(0, len(rows), at_once)]
            cut += [[]] * (-len(cut) % processes)
            dealt += cut[rank::processes]
        return dealt


def plan_batches(lengths: Sequence[int], settings: TrainSettings) -> BatchPlan:
    """Every row that will be trained on, in order, as a function of the settings and the rows' lengths alone.

    A resumed training needs no state of a sampler: it goes on at its place in the list. Every step but the very last
    has a full batch: rows that an epoch leaves over open the next one. With fewer rows than a batch, a batch is all
    the rows.
    """
    batch = min(settings.batch_size, len(lengths))
    if settings.max_steps is not None:
        length = settings.max_steps * batch
    else:
        length = max(1, round((settings.epochs or 0) * len(lengths)))
    shuffle = random.Random(f"order-{settings.seed}")
    order: list[int] = []
    rest: list[int] = []
    while len(order) + len(rest) < length:
        epoch = shuffle.sample(range(len(lengths)), len(lengths))
        if rest:
            # A batch of its own, so that a row left over does not meet itself in it.
            first = [i for i in epoch if i not in set(rest)][: batch - len(rest)]
            order += rest + first
            epoch = [i for i in epoch if i not in set(first)]
        full = len(epoch) - len(epoch) % batch
        order.extend(_by_length(epoch[:full], lengths, batch, shuffle))
        rest = epoch[full:]
    order = (order + rest)[:length]
    return BatchPlan(order, batch, math.ceil(len(order) / batch))


def _by_length(rows: list[int], lengths: Sequence[int], batch: int, shuffle: random.Random) -> Iterator[int]:
    """The rows in batches of like length, in random order; within a batch the longest row comes first."""
    for start in range(0, len(rows), CHUNK * batch):
        chunk = sorted(rows[start : start + CHUNK * batch], key=lambda i: -lengths[i])
        batches = [chunk[i : i + batch] for i in range(0, len(chunk), batch)]
        shuffle.shuffle(batches)
        for batch_rows in batches:
            yield from batch_rows
