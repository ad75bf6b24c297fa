"""Keys and values of a running batch, in place: nothing is copied as responses grow or end.

Each layer holds [rows, heads, slots, size]. A row's slots are: the prompt's tokens, right-padded to the
longest prompt of the batch, then one slot for each token decoded. All rows write the same slot at a step;
what a row has in its padding slots is never looked at (see masks.py). A finished row's place is taken by
the last live one, so that the live rows are always the first ones and every view is a slice.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache


class _RowLayer(CacheLayerMixin):
    """One layer's buffers."""

    is_compileable = False
    is_sliding = False

    def __init__(self, like: Tensor, values_like: Tensor, rows: int, slots: int, filled: int) -> None:
        super().__init__()
        self.keys = like.new_empty((rows, like.shape[1], slots, like.shape[3]))
        self.values = values_like.new_empty((rows, values_like.shape[1], slots, values_like.shape[3]))
        self.live, self.filled = rows, filled
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise NotImplementedError("the buffers are allocated from the prefilled keys and values")

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values for the live rows; return all that these rows hold."""
        end = self.filled + key_states.shape[2]
        self.keys[: self.live, :, self.filled : end] = key_states
        self.values[: self.live, :, self.filled : end] = value_states
        self.filled = end
        return self.keys[: self.live, :, :end], self.values[: self.live, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])


class RowCache(Cache):
    """The buffers of all layers, for `rows` responses of `slots` tokens, of which `filled` are the prompt's."""

    def __init__(self, like: DynamicCache, rows: int, slots: int, filled: int) -> None:
        super().__init__(layers=[_RowLayer(one.keys, one.values, rows, slots, filled) for one in like.layers])

    def put(self, rows: Tensor, prefilled: DynamicCache, source: Tensor) -> None:
        """Copy prefilled prompts into rows: row rows[i] gets prompt source[i]."""
        for own, other in zip(self.layers, prefilled.layers, strict=True):
            length = other.keys.shape[2]
            own.keys[rows, :, :length] = other.keys[source]
            own.values[rows, :, :length] = other.values[source]

    def shrink(self, live: int, to: Tensor, source: Tensor) -> None:
        """Keep `live` rows: those at `source`, beyond that number, move to the places `to` of finished ones."""
        for layer in self.layers:
            if len(to):
                layer.keys[to, :, : layer.filled] = layer.keys[source, :, : layer.filled]
                layer.values[to, :, : layer.filled] = layer.values[source, :, : layer.filled]
            layer.live = live
