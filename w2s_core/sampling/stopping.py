"""When a response ends: EOS, a stop string, or the length limit."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch

from w2s_core.sampling.interface import Generation

PLAIN, MAY_STOP, EOS = 0, 1, 2
_SLACK = 4  # tokens that a tail is longer than its stop string: special tokens and lost leading spaces show no text


class Stopping:
    """Decides for each new token whether its response ends.

    Decoding every response at every step would cost more than a small model's forward pass. A stop string
    can only be completed by a token that holds its last character, so a table over the vocabulary singles
    these tokens out, and only after one of them is the response's tail decoded.
    """

    def __init__(
        self, tokenizer: Any, eos: Iterable[int], stop: Sequence[str], size: int, device: Any
    ) -> None:
        """`size`: of the model's output, which may be larger than the tokenizer's vocabulary."""
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.tail = max((len(text.encode()) for text in stop), default=0) + _SLACK
        kinds = torch.full((size,), PLAIN, dtype=torch.uint8)
        kinds[[i for i, text in enumerate(self._vocabulary(size)) if self._may_complete(text)]] = MAY_STOP
        kinds[list(eos)] = EOS
        self.kinds = kinds.to(device)
        """What a token means, by its id: PLAIN, MAY_STOP or EOS."""

    def completes(self, ids: Sequence[int]) -> bool:
        """Whether the last tokens of a response, at most `tail`, hold a stop string."""
        text = self._decode([ids])[0]
        return any(stop in text for stop in self.stop)

    def generations(
        self, responses: Sequence[Sequence[int]], ended_by_eos: Sequence[bool]
    ) -> list[Generation]:
        """Texts, cut at the first stop string and stripped, of whole responses."""
        texts = self._decode(responses)
        return [
            self._generation(text, len(ids), eos)
            for text, ids, eos in zip(texts, responses, ended_by_eos, strict=True)
        ]

    def _generation(self, text: str, tokens: int, eos: bool) -> Generation:
        cuts = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        finish: Literal["eos", "stop", "length"] = "stop" if cuts else "eos" if eos else "length"
        return Generation(text[: min(cuts)].strip() if cuts else text.strip(), tokens, finish)

    def _decode(self, responses: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = self.tokenizer.batch_decode(
            [list(ids) for ids in responses], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def _vocabulary(self, size: int) -> list[str]:
        return self._decode([[i] for i in range(min(size, len(self.tokenizer)))]) if self.stop else []

    def _may_complete(self, text: str) -> bool:
        """Part of a character decodes to U+FFFD, and a lone token may lose its spaces: both must be looked at."""
        return any(
            end in text or end.isspace() or "\ufffd" in text for end in (stop[-1] for stop in self.stop)
        )
