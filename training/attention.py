"""Attention within documents: causal, grouped-query, never across a document's border.

On CUDA in half precision, flash attention over variable lengths; elsewhere scaled dot-product attention with a block mask, which is also
the reference that the other is compared with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from training.batch import Segments


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments) -> torch.Tensor:
    """[B, S, heads, head_dim] from query [B, S, heads, head_dim] and key, value [B, S, kv_heads, head_dim]."""
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query, key, value, segments)
    return attend_masked(query, key, value, segments)


def _varlen(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = segments.bounds, segments.longest
    flat_query, flat_key, flat_value = (x.flatten(0, 1) for x in (query, key, value))
    grouped = query.shape[2] != key.shape[2]
    mixed: Any = varlen_attn(flat_query, flat_key, flat_value, bounds, bounds, longest, longest, window_size=(-1, 0), enable_gqa=grouped)
    return mixed.view_as(query)  # type: ignore[no-any-return]


def attend_masked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments) -> torch.Tensor:
    """The same with a mask of S * S per sequence: for short sequences, and as the reference."""
    same = segments.piece[:, :, None] == segments.piece[:, None, :]
    mask = same.tril()[:, None]
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=query.shape[1] != key.shape[1]).transpose(1, 2)
