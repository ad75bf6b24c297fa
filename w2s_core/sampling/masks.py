"""What a decoding row may look at: its prompt without the padding, what it wrote itself, and no further
back than the model's sliding window. Built here, once a batch where there is no window in reach: a
forward pass that builds its own masks spends more time on them than a small model does on a layer.
"""

from typing import Any

import torch
from torch import Tensor

from w2s_core.errors import UserError

FULL, SLIDING = "full_attention", "sliding_attention"


def layer_kinds(config: Any) -> list[str]:
    """The kinds of attention among the model's layers. Raises UserError if one is neither full nor sliding."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or [FULL if window is None else SLIDING]
    if unknown := sorted(set(kinds) - {FULL, SLIDING}):
        raise UserError(
            f"model type '{config.model_type}' has layers of kind {unknown[0]}: sample it with vLLM"
        )
    return sorted(set(kinds))


class DecodeMasks:
    """Additive masks [rows, 1, 1, slots] for steps of one token, as `attention_mask` of a model's forward.

    lengths: prompt tokens in each row's cache; filled: slots that prompts take in the cache, padding
    included.
    """

    def __init__(self, config: Any, lengths: Tensor, filled: int, slots: int, dtype: torch.dtype) -> None:
        self.kinds, self.window = layer_kinds(config), getattr(config, "sliding_window", None)
        slot = torch.arange(slots, device=lengths.device)
        padding = (slot >= lengths[:, None]) & (slot < filled)
        self.padded = bool(padding.any())
        self.hide = torch.finfo(dtype).min
        self.additive = torch.zeros(padding.shape, dtype=dtype, device=lengths.device)
        self.additive.masked_fill_(padding, self.hide)
        self.positions = torch.where(slot < filled, slot, slot - filled + lengths[:, None])

    def shrink(self, live: int, to: Tensor, source: Tensor) -> None:
        """As RowCache.shrink."""
        self.additive[to], self.positions[to] = self.additive[source], self.positions[source]
        self.additive, self.positions = self.additive[:live], self.positions[:live]

    def at(self, used: int) -> Any:
        """The mask when `used` slots are in use, that of the current token included: a tensor, None where all is
        visible, or, for models that mix kinds of layers, one of these a kind.
        """
        masks = {kind: self._mask(kind, used) for kind in self.kinds}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _mask(self, kind: str, used: int) -> Tensor | None:
        mask = self.additive[:, :used]
        if kind == SLIDING and self.window is not None and used > self.window:
            positions = self.positions[:, :used]
            mask = mask.masked_fill(positions <= positions[:, -1:] - self.window, self.hide)
        elif not self.padded:
            return None
        return mask[:, None, None, :]
