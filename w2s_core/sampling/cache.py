"""Keys and values of a running batch. What several responses share is held, and read, once.

A row of the batch (a response) looks at three runs of slots, in this order:

* the tokens that all prompts share, the demonstrations: one `Shared` group for all rows;
* its prompt's own tokens, right-padded to the longest of the batch: a `Shared` group per prompt, for all its samples;
* the tokens that it wrote itself: `OwnCache`. All rows write the same slot at a step.

Live rows, and live groups, are always the first ones: when one ends, the last live one takes its place.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

_GROWTH = 16  # slots


@dataclass(frozen=True)
class Moves:
    """How places are closed up: the occupants of `source` go to `to`, and the first `live` places remain."""

    live: int
    to: Tensor
    source: Tensor

    @classmethod
    def closing(cls, places: int, ended: Collection[int], device: Any) -> "Moves":
        """Moves that fill the ended ones among `places` places from the end."""
        live = places - len(ended)
        to = [place for place in range(live) if place in ended]
        source = [place for place in range(live, places) if place not in ended]
        return cls(live, torch.tensor(to, device=device).long(), torch.tensor(source, device=device).long())

    def apply(self, state: Tensor) -> Tensor:
        """Close up the first dimension of `state`, in place; returns the part that remains."""
        if len(self.to):
            state[self.to] = state[self.source]
        return state[: self.live]


class Shared:
    """Keys [groups, heads, size, slots] and values [groups, heads, slots, size] of all layers.

    Each group is looked at by one or more rows. Keys are held transposed: they are read at every step.

    members: each row's group and its number within that group, below `width`, [rows, 2]; None where row r looks at
    group r (width 1), or where there is one group for all (width 0).
    """

    def __init__(self, layers: Iterable[tuple[Tensor, Tensor]], width: int, members: Tensor | None) -> None:
        self.layers = list(layers)
        self.width, self.members = width, members

    @property
    def slots(self) -> int:
        """Tokens a group, padding included."""
        return self.layers[0][0].shape[3] if self.layers else 0

    def scores(self, layer: int, queries: Tensor) -> Tensor:
        """Products of queries [rows, heads, q, size] with the keys that each row looks at: [rows, heads, q, slots]."""
        return self._product(queries, self.layers[layer][0])

    def mix(self, layer: int, weights: Tensor) -> Tensor:
        """Sums of values by weights [rows, heads, q, slots]: [rows, heads, q, size]."""
        return self._product(weights, self.layers[layer][1])

    def shrink(self, rows: Moves) -> None:
        """Follow the rows' moves; groups without a row left are dropped."""
        if self.width == 1:
            self._close(rows)
        elif self.members is not None:
            self.members = rows.apply(self.members)
            group = self._places[0]
            count = self.layers[0][0].shape[0]
            ended = set(range(count)) - set(group.tolist())
            if ended:
                groups = Moves.closing(count, ended, group.device)
                self._close(groups)
                place = torch.arange(count, device=group.device)
                place[groups.source] = groups.to
                self.members[:, 0] = place[group]

    @property
    def _places(self) -> tuple[Tensor, Tensor]:
        """Each row's group, and its number within the group."""
        assert self.members is not None
        return self.members[:, 0], self.members[:, 1]

    def _close(self, groups: Moves) -> None:
        self.layers = [(groups.apply(keys), groups.apply(values)) for keys, values in self.layers]

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        """Multiply left [rows, heads, q, a] by right [groups, heads, a, b], each row with its group."""
        rows, heads, q, a = left.shape
        groups, b = right.shape[0], right.shape[3]
        if self.width == 1:
            return torch.bmm(left.flatten(0, 1), right.flatten(0, 1)).view(rows, heads, q, b)
        if self.members is None:
            flat = torch.bmm(left.transpose(0, 1).reshape(heads, rows * q, a), right[0])
            return flat.view(heads, rows, q, b).transpose(0, 1)
        group, number = self._places
        # Places without a row stay uninitialised: their products are not read.
        grid = left.new_empty((groups, heads, self.width, q, a))
        grid[group, :, number] = left
        product = torch.bmm(grid.view(groups * heads, -1, a), right.flatten(0, 1))
        return product.view(groups, heads, self.width, q, b)[group, :, number]


def shared_from(caches: Sequence[DynamicCache], width: int, members: Tensor | None) -> Shared:
    """The groups that prefilled caches hold, one after the other, right-padded to the longest."""
    slots = max(cache.get_seq_length() for cache in caches)
    layers = zip(*(cache.layers for cache in caches), strict=True)
    pairs = (
        (
            torch.cat([pad(part.keys.transpose(2, 3), (0, slots - part.keys.shape[2])) for part in parts]),
            torch.cat([pad(part.values, (0, 0, 0, slots - part.values.shape[2])) for part in parts]),
        )
        for parts in layers
    )
    return Shared(pairs, width, members)


class _OwnLayer(CacheLayerMixin):
    """One layer's buffers, [rows, heads, slots, size].

    They grow by _GROWTH slots, and then hold live rows only: tight buffers are read faster than sparse ones.
    """

    is_compileable = False
    is_sliding = False

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.live, self.filled = rows, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values for the live rows; return all that these rows hold."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.filled + 1
        if end > self.keys.shape[2]:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)
        self.keys[: self.live, :, self.filled : end] = key_states
        self.values[: self.live, :, self.filled : end] = value_states
        self.filled = end
        return self.keys[: self.live, :, :end], self.values[: self.live, :, :end]

    def _grown(self, buffer: Tensor) -> Tensor:
        _, heads, slots, size = buffer.shape
        grown = buffer.new_empty((self.live, heads, slots + _GROWTH, size))
        grown[:, :, :slots] = buffer[: self.live]
        return grown

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return -1


class OwnCache(Cache):
    """What `rows` responses write themselves: the cache that a model's forward sees."""

    def __init__(self, layers: int, rows: int) -> None:
        super().__init__(layers=[_OwnLayer(rows) for _ in range(layers)])

    def shrink(self, rows: Moves) -> None:
        """Follow the rows' moves."""
        for layer in self.layers:
            rows.apply(layer.keys[:, :, : layer.filled])
            rows.apply(layer.values[:, :, : layer.filled])
            layer.live = rows.live
