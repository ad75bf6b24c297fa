"""One batch of responses: prefill their prompts, then one token a step for all that are not done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from w2s_core.sampling import Generation, SamplingParams
from w2s_core.sampling.cache import RowCache
from w2s_core.sampling.masks import DecodeMasks
from w2s_core.sampling.noise import row_keys, uniforms
from w2s_core.sampling.stopping import EOS, MAY_STOP, Stopping

_PREFILL_TOKENS = 8192  # of prompts prefilled at once: bounds the memory of activations


@dataclass(frozen=True)
class Wanted:
    """A response to be made: sample `number` of prompt `prompt` (its place in the call), whose question is
    `name`.

    `ids`: the prompt's tokens, at least one, without those that all prompts share.
    """

    prompt: int
    number: int
    name: str
    ids: tuple[int, ...]


def prefill_shared(model: Any, ids: Sequence[int]) -> DynamicCache:
    """Keys and values of what stands before all prompts, as one row; empty without ids."""
    cache = DynamicCache()
    if ids:
        _extend(model, torch.tensor([list(ids)], device=model.device), cache)
    return cache


class Batch:
    """The state of a running batch. Its live rows are always the first ones; row r makes response item[r]."""

    def __init__(
        self,
        model: Any,
        wanted: Sequence[Wanted],
        shared: DynamicCache,
        params: SamplingParams,
        stopping: Stopping,
    ) -> None:
        self.model, self.params, self.stopping, self.device = model, params, stopping, model.device
        rows, limit, before = len(wanted), params.max_new_tokens, shared.get_seq_length()
        longest = max(1, max(len(one.ids) for one in wanted) - 1)  # the last token is left to the first step
        self.item = torch.arange(rows, device=self.device)
        self.last = torch.tensor([one.ids[-1] for one in wanted], device=self.device)
        self.position = torch.tensor([before + len(one.ids) - 1 for one in wanted], device=self.device)
        self.filled, slots = before + longest, before + longest + limit
        self.masks = DecodeMasks(
            model.config.get_text_config(), self.position, self.filled, slots, model.dtype
        )
        self.cache = self._prefill(wanted, shared, longest, slots)
        self.tokens = torch.zeros((rows, limit), dtype=torch.long, device=self.device)
        self.lengths, self.by_eos = [limit] * rows, [False] * rows
        keys = row_keys(params.seed, ((one.name, one.number) for one in wanted))
        self.noise = torch.from_numpy(uniforms(keys, limit)).to(self.device) if params.temperature else None

    def run(self, finished: Callable[[int], None]) -> list[Generation]:
        """Decode to the end. Calls finished(number of responses done) whenever some are; returns them in order."""
        rows = len(self.lengths)
        for step in range(self.params.max_new_tokens):
            self._step(step)
            ended = self._ended(step)
            if ended:
                self._drop(ended)
                finished(rows - len(self.item))
            if not len(self.item):
                break
        tokens = self.tokens.tolist()
        made = [row[:length] for row, length in zip(tokens, self.lengths, strict=True)]
        finished(rows)
        return self.stopping.generations(made, self.by_eos)

    def _step(self, step: int) -> None:
        """Feed the last token of each live row, and choose the next."""
        output = self.model(
            input_ids=self.last[:, None],
            position_ids=self.position[:, None],
            attention_mask=self.masks.at(self.filled + step + 1),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1]
        if self.noise is None:
            self.last = logits.argmax(-1)
        else:
            self.last = draw(logits, self.params.temperature, self.noise[self.item, step])
        self.tokens[self.item, step] = self.last
        self.position += 1

    def _ended(self, step: int) -> set[int]:
        """The live rows that this step's token ended; notes their lengths."""
        kinds = self.stopping.kinds[self.last]
        rows = kinds.nonzero().flatten()
        ended = set()
        for row, kind, item in zip(
            rows.tolist(), kinds[rows].tolist(), self.item[rows].tolist(), strict=True
        ):
            tail = max(0, step + 1 - self.stopping.tail)
            if kind == EOS or self.stopping.completes(self.tokens[item, tail : step + 1].tolist()):
                self.lengths[item], self.by_eos[item] = step + 1, kind == EOS
                ended.add(row)
        return ended

    def _drop(self, ended: set[int]) -> None:
        """Live rows from the end take the places of ended ones before them."""
        live = len(self.item) - len(ended)
        places = torch.tensor(
            sorted(row for row in ended if row < live), dtype=torch.long, device=self.device
        )
        movers = [row for row in range(live, len(self.item)) if row not in ended]
        source = torch.tensor(movers, dtype=torch.long, device=self.device)
        for state in (self.item, self.last, self.position):
            state[places] = state[source]
        self.item, self.last, self.position = self.item[:live], self.last[:live], self.position[:live]
        self.masks.shrink(live, places, source)
        self.cache.shrink(live, places, source)

    def _prefill(self, wanted: Sequence[Wanted], shared: DynamicCache, longest: int, slots: int) -> RowCache:
        """A cache with each prompt but its last token. A prompt is prefilled once, however many rows want it."""
        prompts = {one.prompt: one.ids[:-1] or one.ids for one in wanted}
        place = {prompt: index for index, prompt in enumerate(prompts)}
        source = torch.tensor([place[one.prompt] for one in wanted], device=self.device)
        padded = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, ids in enumerate(prompts.values()):
            padded[row, : len(ids)] = torch.tensor(ids)
        padded = padded.to(self.device)
        cache: RowCache | None = None
        group = max(1, _PREFILL_TOKENS // longest)
        for first in range(0, len(padded), group):
            part = padded[first : first + group]
            prefilled = _extend(self.model, part, _repeated(shared, len(part)))
            cache = cache or RowCache(prefilled, len(wanted), slots, self.filled)
            rows = ((source >= first) & (source < first + group)).nonzero().flatten()
            cache.put(rows, prefilled, source[rows] - first)
        assert cache is not None
        return cache


def draw(logits: Tensor, temperature: float, noise: Tensor) -> Tensor:
    """A token a row from softmax(logits / temperature), by inversion of its distribution function at `noise`.

    logits: [rows, vocabulary]; noise: [rows], float64 in [0, 1). Sums are in float64, so that no likely
    token's share is off by more than the logits' own rounding.
    """
    shares = torch.softmax(logits.float() / temperature, -1).cumsum(-1, dtype=torch.float64)
    chosen = torch.searchsorted(shares, (noise * shares[:, -1])[:, None], right=True).squeeze(-1)
    return chosen.clamp_(max=logits.shape[-1] - 1)


def _extend(model: Any, ids: Tensor, cache: DynamicCache) -> DynamicCache:
    """Append the keys and values of ids [rows, tokens] to the cache. Causal: padding at the right disturbs
    nothing.
    """
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def _repeated(shared: DynamicCache, rows: int) -> DynamicCache:
    cache = DynamicCache()
    for index, layer in enumerate(shared.layers):
        cache.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index)
    return cache
