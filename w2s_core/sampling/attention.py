"""Attention of rows to what they share with other rows and to what is theirs alone, in one softmax.

Registered with transformers as the implementation NAME, it serves every architecture that takes its attention from
that registry. Where nothing is shared it is transformers' own "sdpa". The idea is that of cascade attention: the
demonstrations' keys are read from memory once a step and not once a row.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from w2s_core.errors import UserError
from w2s_core.sampling.cache import Shared

NAME = "w2s_shared"


def shared_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared: Sequence[Shared] = (),
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function by transformers' signature: query [rows, heads, q, size] to [rows, q, heads, size].

    shared: what the rows look at before `key` and `value` [rows, key heads, slots, size]. The mask, if any, is
    additive, over all slots in that order.
    """
    if not shared and softcap is None:  # sdpa has no soft cap
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    if s_aux is not None:
        raise UserError("models with attention sinks are not sampled here: use the vLLM engine")
    rows, heads, q, size = query.shape
    key_heads, layer = key.shape[1], module.layer_idx
    scale = size**-0.5 if scaling is None else scaling
    queries = (query * scale).reshape(rows, key_heads, -1, size)
    own_scores = torch.bmm(queries.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)).view(
        *queries.shape[:3], -1
    )
    scores = torch.cat([*(group.scores(layer, queries) for group in shared), own_scores], -1)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = (scores.view(rows, key_heads, -1, q, scores.shape[-1]) + attention_mask[:, :, None]).flatten(
            2, 3
        )
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
    parts = torch.split_with_sizes(weights, [*(group.slots for group in shared), key.shape[2]], -1)
    mixed = torch.bmm(parts[-1].flatten(0, 1), value.flatten(0, 1)).view(*queries.shape[:3], -1)
    for group, part in zip(shared, parts[:-1], strict=True):
        mixed = mixed + group.mix(layer, part)
    return mixed.reshape(rows, heads, q, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, shared_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
