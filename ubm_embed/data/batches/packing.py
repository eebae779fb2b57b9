"""Sequences of different lengths laid end to end in tiles of one width, so that almost nothing is padded.

A tile holds as many whole sequences as fit, and no sequence is split over two. Everything but attention (embeddings,
linear layers, layer norms) runs over the flat grid of tiles and ignores where a sequence ends; attention is dense
within a tile, under a mask. The few shapes that occur repeat from batch to batch, which fast kernels need: on a CPU
with AMX, preparing one for a new shape costs as much as ten uses of it.

Letters: N sequences, G tiles of W slots, at most K sequences per tile, T = G W slots in all, D width. B sessions with I
interactions in all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.arrays import IntArray, offsets_of, ragged_index
from ubm_embed.data.batches.tiling import Tiling, best_tiling
from ubm_embed.data.text.token_table import TokenTable


@dataclass(frozen=True)
class Packing:
    """Where each of N sequences lies. "Caller's order" is the order of the given lengths.

    Attributes:
        width: W.
        max_length: the length of the longest sequence.
        max_per_tile: K, sequences in the fullest tile.
        lengths: [N] int64, in the caller's order.
        elements: [T] int64, for each slot its element in the caller's flat layout; 0 in an empty slot.
        positions: [T] int64, for each slot the position in its own sequence; 0 in an empty slot.
        starts: [N] int64, the slot in which the caller's sequence n begins.
        rank: [N] int64, tile times K plus index within the tile, of the caller's sequence n.
        owner: [G, W] int32, for each slot the index of its sequence within the tile, -1 in an empty slot. None if every
            sequence fills a tile, so that attention needs no mask.
    """

    width: int
    max_length: int
    max_per_tile: int
    lengths: Tensor
    elements: Tensor
    positions: Tensor
    starts: Tensor
    rank: Tensor
    owner: Tensor | None

    @classmethod
    def from_lengths(cls, lengths: IntArray) -> Packing:
        """Lay out sequences of these lengths ([N], each at least 1)."""
        sizes: NDArray[np.int64] = np.asarray(lengths, dtype=np.int64)  # differences of unsigned ones become floats
        assert sizes.size, "at least one sequence"
        assert sizes.min() > 0, "a sequence has at least one element"
        return cls._dense(sizes) if sizes.min() == sizes.max() else cls._tiled(sizes, best_tiling(sizes))

    @classmethod
    def _dense(cls, lengths: NDArray[np.int64]) -> Packing:
        count, width = lengths.size, int(lengths[0])
        slots = torch.arange(count * width)
        return cls(
            width=width,
            max_length=width,
            max_per_tile=1,
            lengths=torch.from_numpy(lengths),
            elements=slots,
            positions=slots % width,
            starts=slots[::width],
            rank=torch.arange(count),
            owner=None,
        )

    @classmethod
    def _tiled(cls, lengths: NDArray[np.int64], tiling: Tiling) -> Packing:
        width, max_per_tile = tiling.width, int(tiling.number.max()) + 1
        starts = tiling.tile * width + tiling.offset
        slots = ragged_index(starts, lengths)
        elements, positions = np.zeros((2, tiling.tiles * width), dtype=np.int64)
        owner = np.full(tiling.tiles * width, -1, dtype=np.int32)
        elements[slots] = np.arange(slots.size)
        positions[slots] = slots - np.repeat(starts, lengths)
        owner[slots] = np.repeat(tiling.number, lengths)
        return cls(
            width=width,
            max_length=int(lengths.max()),
            max_per_tile=max_per_tile,
            lengths=torch.from_numpy(lengths),
            elements=torch.from_numpy(elements),
            positions=torch.from_numpy(positions),
            starts=torch.from_numpy(starts),
            rank=torch.from_numpy(tiling.tile * max_per_tile + tiling.number),
            owner=torch.from_numpy(owner).view(-1, width),
        )

    @property
    def tiles(self) -> int:
        """G."""
        return self.elements.numel() // self.width

    def filled(self) -> Tensor:
        """Which slots hold an element: [T] bool."""
        return torch.ones_like(self.elements, dtype=torch.bool) if self.owner is None else self.owner.flatten() >= 0

    def attention_mask(self, *, causal: bool = False) -> Tensor | None:
        """The slots that a slot attends to: [G or 1, 1, W, W] bool, those of its own sequence; None for the whole tile.

        Empty slots attend to each other, because a softmax over nothing would be NaN.

        Args:
            causal: only to itself and to earlier slots.
        """
        own = None if self.owner is None else (self.owner[:, :, None] == self.owner[:, None, :]).unsqueeze(1)
        if not causal:
            return own
        earlier = torch.ones(1, 1, self.width, self.width, dtype=torch.bool, device=self.starts.device).tril()
        return earlier if own is None else own & earlier

    def first_mask(self) -> Tensor | None:
        """The slots that the first slot of each sequence attends to: [G, 1, K, W] bool; None for the whole tile.

        A tile with fewer than K sequences has rows left over, which attend to the whole tile.
        """
        members = self.members()
        return None if members is None else (members | ~members.any(dim=2, keepdim=True)).unsqueeze(1)

    def members(self) -> Tensor | None:
        """The slots of each sequence of each tile: [G, K, W] bool; None if a sequence has the whole tile."""
        if self.owner is None:
            return None
        numbers = torch.arange(self.max_per_tile, dtype=self.owner.dtype, device=self.owner.device)
        return self.owner[:, None, :] == numbers[:, None]

    def first_slots(self) -> Tensor:
        """The first slot of each sequence of each tile: [G K]; for missing sequences the tile's first slot."""
        tile_starts = torch.arange(self.tiles, device=self.starts.device) * self.width
        return tile_starts.repeat_interleave(self.max_per_tile).index_put((self.rank,), self.starts)

    def element_slots(self) -> Tensor:
        """The slot of each element, sequences end to end in the caller's order; the inverse of `elements`."""
        begins = self.lengths.cumsum(0) - self.lengths
        shifts = (self.starts - begins).repeat_interleave(self.lengths)
        return shifts + torch.arange(shifts.numel(), device=shifts.device)

    def firsts(self, hidden: Tensor) -> Tensor:
        """The states in `first_slots`: [T, D] -> [G K, D]."""
        return hidden[self.first_slots()]

    def by_sequence(self, states: Tensor) -> Tensor:
        """States of the sequences of each tile, in the caller's order: [G K, D] -> [N, D]."""
        return states[self.rank]

    def last(self, hidden: Tensor) -> Tensor:
        """The state in the last slot of each sequence: [T, D] -> [N, D], in the caller's order."""
        return hidden[self.starts + self.lengths - 1]

    def mean(self, hidden: Tensor) -> Tensor:
        """The mean over each sequence: [T, D] -> [N, D] float32, in the caller's order."""
        grid, members = hidden.float().view(self.tiles, self.width, -1), self.members()
        if members is None:
            return grid.mean(dim=1)
        with torch.autocast(hidden.device.type, enabled=False):  # which would take the product below in bfloat16
            sums = (members.float() @ grid).flatten(0, 1)[self.rank]
        return sums / self.lengths.unsqueeze(1)

    def to(self, device: torch.device) -> Packing:
        """The same on another device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class TokenBatch:
    """N token sequences, packed.

    Attributes:
        ids: [T] int64, in packed order.
        packing: where each sequence lies; its caller's order is the order of the table that it was made from.
    """

    ids: Tensor
    packing: Packing

    @classmethod
    def from_table(cls, sequences: TokenTable) -> TokenBatch:
        """Pack these N sequences."""
        packing = Packing.from_lengths(sequences.lengths)
        return cls(torch.from_numpy(sequences.ids).long()[packing.elements], packing)

    def part(self, begin: int, end: int) -> TokenBatch:
        """Sequences `begin` to `end` alone, packed anew."""
        lengths = self.packing.lengths.numpy(force=True)
        if (begin, end) == (0, lengths.size):
            return self
        starts = self.packing.starts[begin:end].numpy(force=True)
        slots = torch.from_numpy(ragged_index(starts, lengths[begin:end])).to(self.ids.device)
        packing = Packing.from_lengths(lengths[begin:end]).to(self.ids.device)
        return TokenBatch(self.ids[slots][packing.elements], packing)

    def to(self, device: torch.device) -> TokenBatch:
        """The same on another device."""
        return TokenBatch(self.ids.to(device, non_blocking=True), self.packing.to(device))


@dataclass(frozen=True)
class SessionBatch:
    """B sessions over N distinct interactions.

    Attributes:
        tokens: the N distinct interactions.
        index: [I] int64, which of the N each interaction is, sessions end to end; the ragged form of [B, S].
        packing: where each session lies in the session encoder.
    """

    tokens: TokenBatch
    index: Tensor
    packing: Packing

    @classmethod
    def from_index(cls, sequences: TokenTable, index: IntArray, session_lengths: IntArray) -> SessionBatch:
        """Sessions of these lengths [B], whose interactions are `sequences[index]` ([I])."""
        which = torch.from_numpy(np.asarray(index, dtype=np.int64))
        return cls(TokenBatch.from_table(sequences), which, Packing.from_lengths(session_lengths))

    def part(self, begin: int, end: int) -> tuple[Tensor, Packing]:
        """Sessions `begin` to `end`: which of the N interactions they hold, and where each session lies."""
        lengths = self.packing.lengths.numpy(force=True)
        if (begin, end) == (0, lengths.size):
            return self.index, self.packing
        offsets = offsets_of(lengths)
        packing = Packing.from_lengths(lengths[begin:end]).to(self.index.device)
        return self.index[offsets[begin] : offsets[end]], packing

    def to(self, device: torch.device) -> SessionBatch:
        """The same on another device."""
        return SessionBatch(self.tokens.to(device), self.index.to(device, non_blocking=True), self.packing.to(device))
