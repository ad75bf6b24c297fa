"""Sampling by a loop over a transformers model's forward pass and its cache.

What makes it fast, on a laptop's CPU above all: prompts sorted by length; one prefill for all samples of a
prompt, and one for the demonstrations that all prompts share; a cache written in place; finished responses
dropped at once; masks built once a batch. `model.generate` is the oracle that the tests hold it against,
token for token.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from w2s_core.errors import UserError
from w2s_core.models.products import by_onednn, pack
from w2s_core.prompting import encode_prompt
from w2s_core.sampling.attention import NAME as SHARED_ATTENTION
from w2s_core.sampling.decoding import Request, prefill_common, run_batch
from w2s_core.sampling.interface import Generation, Progress, SamplingParams, missing, together
from w2s_core.sampling.masks import layer_kinds
from w2s_core.sampling.stopping import Stopping
from w2s_core.sampling.unfinished import Unfinished

log = logging.getLogger(__name__)

_SHARE_FROM = 16  # tokens: a shorter common beginning is cheaper computed again than shared


class TransformersEngine:
    """A SamplingEngine over a transformers causal language model, on the device where the model is.

    It sets the model's attention implementation, to one that elsewhere computes what "sdpa" does; and may pack its
    weights (`w2s_core.models.products`), after which it can be trained no further.

    Of the base's generation_config.json the engine reads the end tokens (eos_token_id) and nothing else: other settings
    are those of `params`. With the same settings `model.generate` gives the same greedy response.

    batch_size: responses decoded at once. Out of memory halves it for the rest of the engine's
    life, with a warning. Results do not depend on it, but for float rounding: a draw within rounding error
    (about 1e-6 of probability in float32) of the border between two tokens can fall on either side, as can
    a greedy near-tie.
    """

    def __init__(self, model: Any, tokenizer: Any, *, batch_size: int = 512) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {batch_size}")
        layer_kinds(model.config.get_text_config())
        if not getattr(model, "_supports_attention_backend", False):
            raise UserError(
                f"model type '{model.config.model_type}' has its own attention: sample it with vLLM"
            )
        model.set_attn_implementation(SHARED_ATTENTION)
        if by_onednn(model):
            pack(model)
        self.model, self.tokenizer, self.batch_size = model.eval(), tokenizer, batch_size

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[tuple[str, str | Sequence[int]]],
        params: SamplingParams,
        *,
        prefix: str = "",
        progress: Progress | None = None,
        unfinished: Path | None = None,
        known: Sequence[Sequence[Generation]] = (),
    ) -> list[list[Generation]]:
        """See SamplingEngine. Raises UserError, naming the question, where the model's context is too short."""
        if not prompts:
            return []
        encoded = [encode_prompt(self.tokenizer, text, prefix) for _, text in prompts]
        self._check_lengths([name for name, _ in prompts], encoded, params.max_new_tokens)
        common = common_length(encoded)
        shared = tuple(encoded[0][:common])
        demonstrations = prefill_common(self.model, shared)
        journal = Unfinished(unfinished)
        drawn = journal.read()
        left = missing(len(prompts), params.n, known, drawn)
        requests = [
            Request(index, number, prompts[index][0], tuple(encoded[index][common:]), shared)
            for index in sorted(left, key=lambda i: -len(encoded[i]))  # the longest first
            for number in left[index]
        ]
        stopping = Stopping(
            self.tokenizer,
            {*self._eos(), *params.end_tokens},
            params.stop,
            self._outputs(),
            self.model.device,
        )
        total = len(prompts) * params.n
        while requests:
            chunk = requests[: self.batch_size]
            before = total - len(requests)

            def finished(count: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + count, total, "responses")

            generations = run_batch(self.model, chunk, demonstrations, params, stopping, finished)
            if generations is None:
                self._halve(len(chunk))
                continue
            places = ((request.prompt, request.number) for request in chunk)
            batch = dict(zip(places, generations, strict=True))
            journal.add(batch)
            drawn |= batch
            requests = requests[len(chunk) :]
        return together(len(prompts), params.n, known, drawn)

    def _check_lengths(self, names: list[str], encoded: list[list[int]], new: int) -> None:
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for name, ids in zip(names, encoded, strict=True):
            if not ids:
                raise UserError(f"question '{name}': its prompt is empty")
            if context is not None and len(ids) + new > context:
                raise UserError(
                    f"question '{name}': its prompt of {len(ids)} tokens and max_new_tokens = {new} exceed"
                    f" the model's context of {context} tokens"
                )

    def _eos(self) -> set[int]:
        """All tokens that end a response: the tokenizer's EOS, and what the model's generation config adds."""
        config = getattr(self.model.generation_config, "eos_token_id", None)
        listed = config if isinstance(config, list) else [config]
        return {int(token) for token in (self.tokenizer.eos_token_id, *listed) if token is not None}

    def _outputs(self) -> int:
        """The size of the model's output, which may be larger than the tokenizer's vocabulary."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    def _halve(self, running: int) -> None:
        """Go on with half of what was running, or give up where that was one response."""
        if running == 1:
            raise UserError(
                f"out of memory on {self.model.device} with a single response: use a larger device"
            )
        self.batch_size = running // 2
        torch.cuda.empty_cache()
        log.warning("out of memory with %d responses at once; going on with %d", running, self.batch_size)


def common_length(encoded: list[list[int]]) -> int:
    """How many first tokens all prompts share, to be prefilled once; at least one token of each is left to
    it.

    Taken from the tokens of whole prompts, so that a tokenizer that merges across the end of the
    demonstrations loses nothing but a token of sharing.
    """
    first, last = min(encoded), max(encoded)  # the extremes of the sorted prompts differ where any two do
    common = min(len(ids) for ids in encoded) - 1
    while first[:common] != last[:common]:
        common -= 1
    return common if common >= _SHARE_FROM else 0
