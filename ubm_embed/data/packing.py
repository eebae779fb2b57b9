"""Sequences of different lengths laid end to end, shortest first, so that nothing is ever padded.

Sequences of one length then form a block, and a block of a flat `[T, D]` tensor is a dense `[count, length, D]` view:
attention and means run block by block without a mask. Everything else (embeddings, linear layers, layer norms)
runs over the flat tensor and never sees where a sequence ends.

Letters: N sequences, T elements in all (the sum of their lengths), D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ubm_embed.data.arrays import IntArray


@dataclass(frozen=True)
class Packing:
    """Where each of N sequences lies. "Caller's order" is the order in which the lengths were given.

    Attributes:
        blocks: (count, length) of each run of equal lengths, ascending in length.
        elements: [T] int64, for each packed element its place in the caller's flat layout.
        positions: [T] int64, for each packed element its position in its own sequence.
        starts: [N] int64, where the caller's sequence n begins in the packed layout.
        rank: [N] int64, which packed sequence the caller's sequence n is.
    """

    blocks: tuple[tuple[int, int], ...]
    elements: Tensor
    positions: Tensor
    starts: Tensor
    rank: Tensor

    @classmethod
    def of(cls, lengths: IntArray) -> Packing:
        """Lay out sequences of these lengths ([N], each at least 1)."""
        lengths = np.asarray(lengths, dtype=np.int64)  # unsigned ones would turn the differences below into floats
        assert lengths.size, "at least one sequence"
        assert lengths.min() > 0, "a sequence has at least one element"
        order = np.argsort(lengths, kind="stable")
        ordered = lengths[order]
        packed_starts = np.cumsum(ordered) - ordered
        caller_starts = np.cumsum(lengths) - lengths
        positions = np.arange(ordered.sum()) - np.repeat(packed_starts, ordered)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        unique, counts = np.unique(ordered, return_counts=True)
        return cls(
            blocks=tuple(zip(counts.tolist(), unique.tolist(), strict=True)),
            elements=torch.from_numpy(np.repeat(caller_starts[order], ordered) + positions),
            positions=torch.from_numpy(positions),
            starts=torch.from_numpy(packed_starts[rank]),
            rank=torch.from_numpy(rank),
        )

    def split(self, packed: Tensor) -> Iterator[Tensor]:
        """The blocks of `packed` [T, ...] as views [count, length, ...]."""
        # One split, not a slice a block: the backward of a slice fills a gradient of the whole [T, ...] for each.
        parts = torch.split(packed, [count * length for count, length in self.blocks])
        for part, shape in zip(parts, self.blocks, strict=True):
            yield part.view(*shape, *packed.shape[1:])

    def mean(self, packed: Tensor) -> Tensor:
        """Mean over each sequence: [T, D] -> [N, D] in the caller's order."""
        return torch.cat([block.mean(dim=1) for block in self.split(packed)])[self.rank]

    def to(self, device: torch.device) -> Packing:
        """The same on another device."""
        tensors = (self.elements, self.positions, self.starts, self.rank)
        return Packing(self.blocks, *(tensor.to(device, non_blocking=True) for tensor in tensors))
