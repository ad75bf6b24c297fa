"""What a row may look at: no padding, nothing after itself, and no further back than the model's sliding window.

Built here, and once a batch where no window is in reach: a forward pass that builds its own masks spends more time on
them than a small model does on a layer.
"""

from collections.abc import Callable
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


def _by_kind(config: Any, mask: Callable[[int | None], Tensor | None]) -> Any:
    """As a model's forward takes it: mask(window) or, where layers of both kinds are mixed, one of these a kind."""
    windows = {FULL: None, SLIDING: getattr(config, "sliding_window", None)}
    masks = {kind: mask(windows[kind]) for kind in layer_kinds(config)}
    return masks if len(masks) > 1 else next(iter(masks.values()))


def prefill_masks(config: Any, before: int, end: int, dtype: torch.dtype, device: Any) -> Any:
    """Additive masks [1, 1, end - before, end] for right-padded prompts at the positions from `before` to `end`."""
    keys = torch.arange(end, device=device)
    queries = keys[before:, None]

    def mask(window: int | None) -> Tensor:
        hidden = (keys > queries) if window is None else (keys > queries) | (keys <= queries - window)
        zeros = torch.zeros(hidden.shape, dtype=dtype, device=device)
        return zeros.masked_fill_(hidden, torch.finfo(dtype).min)[None, None]

    return _by_kind(config, mask)


class DecodeMasks:
    """Additive masks [rows, 1, 1, slots] for steps of one token.

    positions: each row's prompt tokens before the first step, [rows]; filled: the slots that prompts take, padding
    included; slots: all there will be.
    """

    def __init__(self, config: Any, positions: Tensor, filled: int, slots: int, dtype: torch.dtype) -> None:
        self.config, self.filled = config, filled
        slot = torch.arange(slots, device=positions.device)
        padding = (slot >= positions[:, None]) & (slot < filled)
        self.padded = bool(padding.any())
        self.hide = torch.finfo(dtype).min
        self.additive = torch.zeros(padding.shape, dtype=dtype, device=positions.device)
        self.additive.masked_fill_(padding, self.hide)
        self.offset = filled - positions  # from a row's slots to its positions, after the prompt

    def shrink(self, rows: Any) -> None:
        """Follow the rows' moves (cache.Moves)."""
        self.additive, self.offset = rows.apply(self.additive), rows.apply(self.offset)

    def at(self, used: int) -> Any:
        """The mask when `used` slots are in use, the current token's included. None: all of them are visible."""
        return _by_kind(self.config, lambda window: self._mask(used, window))

    def _mask(self, used: int, window: int | None) -> Tensor | None:
        mask = self.additive[:, :used]
        if window is not None and used > window:
            return self._windowed(mask, used, window)[:, None, None, :]
        return mask[:, None, None, :] if self.padded else None

    def _windowed(self, mask: Tensor, used: int, window: int) -> Tensor:
        """A prompt's slots are its positions; a slot after it lies `offset` beyond its position."""
        slot = torch.arange(used, device=mask.device)
        generated = slot >= self.filled
        position = slot - generated * self.offset[:, None]
        return mask.masked_fill(position <= (used - 1 - self.offset)[:, None] - window, self.hide)
