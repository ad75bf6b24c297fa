"""One batch of responses: prefill their prompts, then one token a step for all that are not done."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from w2s_core.sampling.cache import Moves, OwnCache, Shared, shared_from
from w2s_core.sampling.interface import Generation, SamplingParams
from w2s_core.sampling.masks import DecodeMasks, prefill_masks
from w2s_core.sampling.noise import row_keys, uniforms
from w2s_core.sampling.processors import logits_processors
from w2s_core.sampling.stopping import EOS, Stopping

_CPU_IS_FULL = "DefaultCPUAllocator: can't allocate memory"  # torch raises a plain RuntimeError for it
# Tokens of prompts prefilled at once, padding included. Few need little padding and little memory for activations; a
# GPU computes few no faster than more.
_PREFILL_TOKENS, _PREFILL_TOKENS_OF_A_GPU = 1024, 2048


@dataclass(frozen=True)
class Request:
    """A response to be sampled: sample `number` of prompt `prompt` (its place in the call), whose question is `name`.

    `ids`: the prompt's tokens, at least one, without those that all prompts share, which are `shared`.
    """

    prompt: int
    number: int
    name: str
    ids: tuple[int, ...]
    shared: tuple[int, ...] = ()


def prefill_common(model: Any, ids: Sequence[int]) -> list[Shared]:
    """Keys and values of what stands before all prompts; none without ids."""
    if not ids:
        return []
    cache = _prefilled(model, torch.tensor([ids], device=model.device), ())
    return [shared_from([cache], width=0, members=None)]


def run_batch(
    model: Any,
    requests: Sequence[Request],
    common: Sequence[Shared],
    params: SamplingParams,
    stopping: Stopping,
    finished: Callable[[int], None],
) -> list[Generation] | None:
    """The responses to the requests, in order, or None where memory does not suffice for all of them at once.

    None and not an exception: while that is handled, it would keep alive all that filled the memory.
    """
    try:
        return Batch(model, requests, common, params, stopping).run(finished)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or _CPU_IS_FULL in str(error):
            return None
        raise


class Batch:
    """The state of a running batch. Its live rows are always the first ones; row r makes response item[r]."""

    def __init__(
        self,
        model: Any,
        requests: Sequence[Request],
        common: Sequence[Shared],
        params: SamplingParams,
        stopping: Stopping,
    ) -> None:
        self.model, self.params, self.stopping, self.device = model, params, stopping, model.device
        self.config = model.config.get_text_config()
        rows, limit, before = len(requests), params.max_new_tokens, sum(group.slots for group in common)
        # The first step feeds each prompt's last token: prefilling needs no output, and all rows go on alike.
        self.last = self._tensor([request.ids[-1] for request in requests])
        self.position = self._tensor([before + len(request.ids) - 1 for request in requests])
        self.item = torch.arange(rows, device=self.device)
        prompts = self._prefill(requests, common)
        self.shared, self.filled = [*common, prompts], before + prompts.slots
        self.masks = DecodeMasks(self.config, self.position, self.filled, self.filled + limit, model.dtype)
        self.cache = OwnCache(len(prompts.layers), rows)
        self.tokens = torch.zeros((rows, limit), dtype=torch.long, device=self.device)
        self.lengths, self.by_eos = [limit] * rows, [False] * rows
        keys = row_keys(params.seed, ((request.name, request.number) for request in requests))
        self.noise = torch.from_numpy(uniforms(keys, limit)).to(self.device) if params.temperature else None
        self.processors = logits_processors(params)
        self.prompted = self._prompted(requests) if self.processors else None

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
        responses = [row[:length] for row, length in zip(self.tokens.tolist(), self.lengths, strict=True)]
        finished(rows)
        return self.stopping.generations(responses, self.by_eos)

    def _step(self, step: int) -> None:
        """Feed the last token of each live row, and choose the next."""
        logits = self.model(
            input_ids=self.last[:, None],
            position_ids=self.position[:, None],
            attention_mask=self.masks.at(self.filled + step + 1),
            past_key_values=self.cache,
            shared=self.shared,
            use_cache=True,
        ).logits[:, -1]
        temperature = self.params.temperature
        if self.prompted is not None:
            context = torch.cat([self.prompted[self.item], self.tokens[self.item, :step]], 1)
            logits = self.processors(context, logits.float())
            temperature = 1.0  # applied already
        if self.noise is None:
            self.last = logits.argmax(-1)
        else:
            self.last = draw(logits, temperature, self.noise[self.item, step])
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
        rows = Moves.closing(len(self.item), ended, self.device)
        self.item, self.last, self.position = (
            rows.apply(state) for state in (self.item, self.last, self.position)
        )
        self.cache.shrink(rows)
        self.masks.shrink(rows)
        for group in self.shared:
            group.shrink(rows)

    def _prefill(self, requests: Sequence[Request], common: Sequence[Shared]) -> Shared:
        """Keys and values of each prompt but its last token: once, however many rows share it."""
        prompts = {request.prompt: request.ids[:-1] or request.ids for request in requests}
        limit = _PREFILL_TOKENS if self.device.type == "cpu" else _PREFILL_TOKENS_OF_A_GPU
        parts = _parts(list(prompts.values()), limit)
        caches = [_prefilled(self.model, self._padded(part), common) for part in parts]
        numbers = [request.number for request in requests]
        first, width = min(numbers), max(numbers) - min(numbers) + 1
        place = {prompt: index for index, prompt in enumerate(prompts)}
        seats = [(place[request.prompt], request.number - first) for request in requests]
        return shared_from(caches, width, self._tensor(seats) if width > 1 else None)

    def _prompted(self, requests: Sequence[Request]) -> Tensor:
        """The distinct tokens of each prompt, which a repetition penalty counts."""
        return self._padded([tuple(dict.fromkeys((*request.shared, *request.ids))) for request in requests])

    def _padded(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Tokens [prompts, longest], each prompt's padded with its first, which adds no distinct one."""
        longest = max(map(len, prompts))
        return self._tensor([[*ids, *ids[:1] * (longest - len(ids))] for ids in prompts])

    def _tensor(self, numbers: Sequence[Any]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self.device)


def _parts(prompts: Sequence[tuple[int, ...]], tokens: int) -> Iterator[Sequence[tuple[int, ...]]]:
    """The prompts, the longest first, in parts of at most so many tokens once they are padded, or of one prompt."""
    start = 0
    while start < len(prompts):
        rows = max(1, tokens // len(prompts[start]))
        yield prompts[start : start + rows]
        start += rows


def _prefilled(model: Any, ids: Tensor, common: Sequence[Shared]) -> DynamicCache:
    """Keys and values of ids [rows, tokens], right-padded, that stand after what they have in common."""
    config, cache = model.config.get_text_config(), DynamicCache()
    before, end = sum(group.slots for group in common), sum(group.slots for group in common) + ids.shape[1]
    softcap = getattr(config, "attn_logit_softcapping", None)
    plain = not common and softcap is None  # then the model's own causal attention needs no mask
    model(
        input_ids=ids,
        position_ids=torch.arange(before, end, device=ids.device)[None],
        attention_mask=None if plain else prefill_masks(config, before, end, model.dtype, ids.device),
        past_key_values=cache,
        shared=common,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache


def draw(logits: Tensor, temperature: float, noise: Tensor) -> Tensor:
    """A token a row from softmax(logits / temperature), by inversion of its distribution function at `noise`.

    logits: [rows, vocabulary]; noise: [rows], float64 in [0, 1). Sums are in float64, so that no likely token's share
    is off by more than the logits' own rounding.
    """
    shares = torch.softmax(logits.float() / temperature, -1).cumsum(-1, dtype=torch.float64)
    chosen = torch.searchsorted(shares, (noise * shares[:, -1])[:, None], right=True).squeeze(-1)
    return chosen.clamp_(max=logits.shape[-1] - 1)
