"""Sequences of different lengths laid end to end in tiles of one width, so that next to nothing is padded.

A tile holds as many whole sequences as fit, and no sequence lies in two. Everything but attention (embeddings, linear
layers, layer norms) runs over the flat grid of tiles and never sees where a sequence ends; attention is dense inside a
tile, under a mask. The few shapes that there are repeat from batch to batch, which fast kernels ask for: on a CPU with
AMX, preparing one for a new shape costs as much as ten uses of it.

Letters: N sequences, G tiles of W places, K sequences a tile at most, T = G W places in all, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.arrays import IntArray, ragged_index

# Widths to choose from; a longer sequence has a tile of its own length, rounded up to _ROUNDING.
_WIDTHS = (16, 32, 48, 64, 96, 128)
_ROUNDING = 32
# At this width, attention would cost as much as everything else: measured from 32 to 128 places (benchmarks/LOG.md).
_COSTLY_WIDTH = 448


@dataclass(frozen=True)
class Packing:
    """Where each of N sequences lies. "Caller's order" is the order in which the lengths were given.

    Attributes:
        width: W.
        longest: the length of the longest sequence.
        most: K, sequences in the fullest tile.
        lengths: [N] int64, in the caller's order.
        elements: [T] int64, for each place the element in the caller's flat layout; 0 where a place is empty.
        positions: [T] int64, for each place the position in its own sequence; 0 where it is empty.
        starts: [N] int64, the place at which the caller's sequence n begins.
        rank: [N] int64, tile times K plus number in the tile, of the caller's sequence n.
        owner: [G, W] int32, the number in its tile of the sequence at each place, -1 where it is empty. None where
            every sequence fills a tile, so that attention needs no mask.
    """

    width: int
    longest: int
    most: int
    lengths: Tensor
    elements: Tensor
    positions: Tensor
    starts: Tensor
    rank: Tensor
    owner: Tensor | None

    @classmethod
    def of(cls, lengths: IntArray) -> Packing:
        """Lay out sequences of these lengths ([N], each at least 1)."""
        sizes: NDArray[np.int64] = np.asarray(lengths, dtype=np.int64)  # of unsigned ones, differences were floats
        assert sizes.size, "at least one sequence"
        assert sizes.min() > 0, "a sequence has at least one element"
        return cls._dense(sizes) if sizes.min() == sizes.max() else cls._tiled(sizes, _best_tiling(sizes))

    @classmethod
    def _dense(cls, lengths: NDArray[np.int64]) -> Packing:
        count, width = lengths.size, int(lengths[0])
        places = torch.arange(count * width)
        return cls(
            width=width,
            longest=width,
            most=1,
            lengths=torch.from_numpy(lengths),
            elements=places,
            positions=places % width,
            starts=places[::width],
            rank=torch.arange(count),
            owner=None,
        )

    @classmethod
    def _tiled(cls, lengths: NDArray[np.int64], tiling: Tiling) -> Packing:
        width, most = tiling.width, int(tiling.number.max()) + 1
        starts = tiling.tile * width + tiling.offset
        places = ragged_index(starts, lengths)
        elements, positions = np.zeros((2, tiling.tiles * width), dtype=np.int64)
        owner = np.full(tiling.tiles * width, -1, dtype=np.int32)
        elements[places] = np.arange(places.size)
        positions[places] = places - np.repeat(starts, lengths)
        owner[places] = np.repeat(tiling.number, lengths)
        return cls(
            width=width,
            longest=int(lengths.max()),
            most=most,
            lengths=torch.from_numpy(lengths),
            elements=torch.from_numpy(elements),
            positions=torch.from_numpy(positions),
            starts=torch.from_numpy(starts),
            rank=torch.from_numpy(tiling.tile * most + tiling.number),
            owner=torch.from_numpy(owner).view(-1, width),
        )

    @property
    def tiles(self) -> int:
        """G."""
        return self.elements.numel() // self.width

    def filled(self) -> Tensor:
        """[T] bool, which places hold an element."""
        return torch.ones_like(self.elements, dtype=torch.bool) if self.owner is None else self.owner.flatten() >= 0

    def attention_mask(self, *, causal: bool = False) -> Tensor | None:
        """[G or 1, 1, W, W] bool, which places a place attends to: those of its own sequence; None for all of its tile.

        Empty places attend to each other: a softmax over nothing would be NaN.

        Args:
            causal: only to itself and those before it.
        """
        own = None if self.owner is None else (self.owner[:, :, None] == self.owner[:, None, :]).unsqueeze(1)
        if not causal:
            return own
        before = torch.ones(1, 1, self.width, self.width, dtype=torch.bool, device=self.starts.device).tril()
        return before if own is None else own & before

    def members(self) -> Tensor | None:
        """[G, K, W] bool, which places of its tile each sequence has; None where it has them all."""
        if self.owner is None:
            return None
        numbers = torch.arange(self.most, dtype=self.owner.dtype, device=self.owner.device)
        return self.owner[:, None, :] == numbers[:, None]

    def heads(self) -> Tensor:
        """[G x K] the place at which each sequence of each tile begins; where a tile has fewer, its first place."""
        firsts = torch.arange(self.tiles, device=self.starts.device) * self.width
        return firsts.repeat_interleave(self.most).index_put((self.rank,), self.starts)

    def lasts(self) -> Tensor:
        """[N] the place at which each sequence ends, in the caller's order."""
        return self.starts + self.lengths - 1

    def places(self) -> Tensor:
        """The place of each element, sequences end to end in the caller's order: `elements` the other way round."""
        begins = self.lengths.cumsum(0) - self.lengths
        shifts = (self.starts - begins).repeat_interleave(self.lengths)
        return shifts + torch.arange(shifts.numel(), device=shifts.device)

    def mean(self, packed: Tensor) -> Tensor:
        """Mean over each sequence: [T, D] -> [N, D] float32, in the caller's order."""
        grid, members = packed.float().view(self.tiles, self.width, -1), self.members()
        if members is None:
            return grid.mean(dim=1)
        with torch.autocast(packed.device.type, enabled=False):  # the product below would be taken in bfloat16
            sums = (members.float() @ grid).flatten(0, 1)[self.rank]
        return sums / self.lengths.unsqueeze(1)

    def to(self, device: torch.device) -> Packing:
        """The same on another device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Tiling:
    """N sequences put into tiles.

    Attributes:
        tiles: G, rounded up so that few different numbers come up.
        tile, offset, number: [N] which tile, the place in it, and as the how manieth of it.
    """

    width: int
    tiles: int
    tile: NDArray[np.int64]
    offset: NDArray[np.int64]
    number: NDArray[np.int64]

    @property
    def cost(self) -> float:
        """What reading it costs, in reads of a place without attention."""
        return self.tiles * self.width * (1 + self.width / _COSTLY_WIDTH)


def _best_tiling(lengths: NDArray[np.int64]) -> Tiling:
    longest = int(lengths.max())
    widths = [width for width in _WIDTHS if width >= longest][:3] or [-(-longest // _ROUNDING) * _ROUNDING]
    return min((_tiling(lengths, width) for width in widths), key=lambda tiling: tiling.cost)


def _tiling(lengths: NDArray[np.int64], width: int) -> Tiling:
    """Longest first, over counts of lengths: tiles that are filled alike are found at once."""
    rows = np.array(list(_rows(np.bincount(lengths), width)))
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]  # sequences of one length are dealt to their rows in turn
    length, repeats, many, tile, offset, number = rows.T
    sizes = repeats * many
    row = np.repeat(np.arange(len(rows)), sizes)
    within = np.arange(row.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order = np.argsort(-lengths, kind="stable")
    placed = np.empty((3, lengths.size), dtype=np.int64)
    placed[0, order] = tile[row] + within // many[row]
    placed[1, order] = offset[row] + within % many[row] * length[row]
    placed[2, order] = number[row] + within % many[row]
    return Tiling(width, _rounded(int((tile + repeats).max())), *placed)


def _rows(counts: NDArray[np.int64], width: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(length, repeats, many, tile, offset, number): `repeats` tiles from `tile` on hold each `many` of a length.

    `offset` is where the first of them lies in its tile, `number` how many lie before it there.
    """
    left = {int(length): int(counts[length]) for length in np.flatnonzero(counts)[::-1]}
    if width > _WIDTHS[-1]:
        yield from _rows_of_long(left, width)
        return
    tile = 0
    while left:
        pattern = _pattern(left, width)
        repeats = min(left[length] // many for length, many in pattern)
        offset = number = 0
        for length, many in pattern:
            yield length, repeats, many, tile, offset, number
            offset, number = offset + many * length, number + many
            left[length] -= many * repeats
            if not left[length]:
                del left[length]
        tile += repeats


def _rows_of_long(left: dict[int, int], width: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """The same, one sequence after the other, longest first: sums of many lengths are too many to try."""
    tile = offset = number = 0
    for length, count in left.items():
        for _ in range(count):
            if offset + length > width:
                tile, offset, number = tile + 1, 0, 0
            yield length, 1, 1, tile, offset, number
            offset, number = offset + length, number + 1


def _pattern(left: dict[int, int], width: int) -> list[tuple[int, int]]:
    """(length, many) of a tile that holds the longest sequence left, and is as full as it can then be."""
    longest = next(iter(left))
    # For each sum within reach, the first way to it: longer lengths first, so that short ones are kept for later.
    ways: dict[int, list[tuple[int, int]]] = {longest: [(longest, 1)]}
    for length, count in left.items():
        if width in ways:
            break
        spare = count - (length == longest)
        reached = {
            total + many * length: [*way, (length, many)]
            for total, way in ways.items()
            for many in range(min(spare, (width - total) // length), 0, -1)
        }
        ways = reached | ways
    pattern = ways[max(ways)]
    if len(pattern) > 1 and pattern[1][0] == longest:
        pattern = [(longest, 1 + pattern[1][1]), *pattern[2:]]
    return pattern


def _rounded(tiles: int) -> int:
    """Up to a multiple of a 32nd of the next lower power of two: 3% more at most."""
    step = 1 << max(0, tiles.bit_length() - 6)
    return -(-tiles // step) * step
