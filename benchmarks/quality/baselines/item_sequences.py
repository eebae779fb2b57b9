"""Sessions as rows of product ids, padded on the right: the input of all models over item ids.

Letters: B sessions, I interactions of all of them, S positions, M products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ubm_embed.data.arrays import IntArray, offsets_of, ragged_index
from ubm_embed.data.batches.session_table import SessionTable


@dataclass(frozen=True)
class ItemSequences:
    """The last products of B sessions, left-aligned: products first, then padding.

    Attributes:
        items: [B, S] int64 product ids, M for padding; S is the greatest length, and at least 1.
        lengths: [B] int64 number of products; 0 for a session without one.
    """

    items: Tensor
    lengths: Tensor

    @classmethod
    def from_sessions(cls, sessions: SessionTable, products: int, limit: int) -> ItemSequences:
        """The last `limit` products of each session; rows from `products` (M) on are search phrases and dropped."""
        is_product = sessions.rows < products
        counts = np.bincount(sessions.session_of()[is_product], minlength=len(sessions))
        lengths = np.minimum(counts, limit)
        last = ragged_index(offsets_of(counts)[1:] - lengths, lengths)
        filled = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        items = np.full(filled.shape, products, dtype=np.int64)
        items[filled] = sessions.rows[is_product][last]
        return cls(torch.from_numpy(items), torch.from_numpy(lengths.astype(np.int64)))

    @property
    def filled(self) -> Tensor:
        """[B, S] bool, which positions hold a product."""
        return torch.arange(self.items.shape[1], device=self.items.device) < self.lengths.unsqueeze(1)

    @property
    def last(self) -> Tensor:
        """[B] position of each session's last product; 0 for a session without one."""
        return (self.lengths - 1).clamp(min=0)

    def at_last(self, states: Tensor) -> Tensor:
        """The states at each session's last product: [B, S, D] -> [B, D]."""
        return states[torch.arange(states.shape[0], device=states.device), self.last]

    def to(self, device: torch.device) -> ItemSequences:
        """The same on another device."""
        return ItemSequences(self.items.to(device), self.lengths.to(device))


def products_so_far(sessions: SessionTable, products: int) -> IntArray:
    """[I] number of products in each session up to and including each interaction."""
    before = offsets_of((sessions.rows < products).astype(np.int64))
    so_far: IntArray = before[1:] - np.repeat(before[sessions.offsets[:-1]], sessions.lengths)
    return so_far
