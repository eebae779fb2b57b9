"""Attention over packed sequences, as an attention implementation of transformers.

Any BERT-like encoder of transformers then runs on a flat [1, T] row of sequences, given `packing=` with the call.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ubm_embed.data.packing import Packing

PACKED = "ubm_packed"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Each sequence attends to itself alone, by dense attention over each block of equal lengths.

    Args:
        query, key, value: [1, heads, T, head width].

    Returns:
        [1, T, heads, head width], and no weights.
    """
    assert attention_mask is None, "packed sequences need no mask"
    blocks = zip(_blocks(query, packing), _blocks(key, packing), _blocks(value, packing), strict=True)
    outputs = [
        scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling).transpose(1, 2).flatten(0, 1)
        for q, k, v in blocks
    ]
    return torch.cat(outputs).unsqueeze(0), None


def _blocks(row: Tensor, packing: Packing) -> Iterator[Tensor]:
    """[1, heads, T, head width] -> each block as [count, heads, length, head width]."""
    return (block.transpose(1, 2) for block in packing.split(row[0].transpose(0, 1)))


AttentionInterface.register(PACKED, packed_attention)
