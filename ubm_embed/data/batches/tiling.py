"""Which tile each sequence goes into: bin packing over few widths, with few distinct tile counts.

Letters: N sequences, G tiles of W slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Widths to choose from. A longer sequence widens the tiles to its own length, rounded up to a multiple of _ROUNDING.
_WIDTHS = (16, 32, 48, 64, 96, 128)
_ROUNDING = 32
# At this width attention would cost as much as everything else: measured from 32 to 128 slots (benchmarks/LOG.md).
_COSTLY_WIDTH = 448

Row = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class Tiling:
    """N sequences assigned to tiles.

    Attributes:
        width: W.
        tiles: G, rounded up so that few distinct numbers occur.
        tile: [N] the tile of each sequence.
        offset: [N] the slot of its tile in which it begins.
        number: [N] its index among the sequences of its tile.
    """

    width: int
    tiles: int
    tile: NDArray[np.int64]
    offset: NDArray[np.int64]
    number: NDArray[np.int64]

    @property
    def cost(self) -> float:
        """Cost of a forward pass, in units of one slot without attention."""
        return self.tiles * self.width * (1 + self.width / _COSTLY_WIDTH)


def best_tiling(lengths: NDArray[np.int64]) -> Tiling:
    """The cheapest tiling of sequences of these lengths [N] among the three narrowest widths that fit them."""
    longest = int(lengths.max())
    widths = [width for width in _WIDTHS if width >= longest][:3] or [-(-longest // _ROUNDING) * _ROUNDING]
    return min((_tiling(lengths, width) for width in widths), key=lambda tiling: tiling.cost)


def _tiling(lengths: NDArray[np.int64], width: int) -> Tiling:
    """A tiling of one width, longest sequences first. It works on counts of lengths, so equal tiles cost one search."""
    rows = np.array(list(_rows(np.bincount(lengths), width)))
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]  # the sequences of one length fill their rows in turn
    length, repeats, per_tile, tile, offset, number = rows.T
    sizes = repeats * per_tile
    row = np.repeat(np.arange(len(rows)), sizes)
    within = np.arange(row.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order = np.argsort(-lengths, kind="stable")
    assigned = np.empty((3, lengths.size), dtype=np.int64)
    assigned[0, order] = tile[row] + within // per_tile[row]
    assigned[1, order] = offset[row] + within % per_tile[row] * length[row]
    assigned[2, order] = number[row] + within % per_tile[row]
    return Tiling(width, _rounded(int((tile + repeats).max())), *assigned)


def _rows(counts: NDArray[np.int64], width: int) -> Iterator[Row]:
    """(length, repeats, per_tile, tile, offset, number): `repeats` tiles from `tile` on hold `per_tile` of a length.

    `offset` is the slot in which the first of them begins, `number` its index among the sequences of its tile.
    """
    left = {int(length): int(counts[length]) for length in np.flatnonzero(counts)[::-1]}
    if width > _WIDTHS[-1]:
        yield from _rows_of_long(left, width)
        return
    tile = 0
    while left:
        pattern = _pattern(left, width)
        repeats = min(left[length] // per_tile for length, per_tile in pattern)
        offset = number = 0
        for length, per_tile in pattern:
            yield length, repeats, per_tile, tile, offset, number
            offset, number = offset + per_tile * length, number + per_tile
            left[length] -= per_tile * repeats
            if not left[length]:
                del left[length]
        tile += repeats


def _rows_of_long(left: dict[int, int], width: int) -> Iterator[Row]:
    """Rows for wide tiles, next fit, longest first: there are too many sums of lengths to search for full tiles."""
    tile = offset = number = 0
    for length, count in left.items():
        for _ in range(count):
            if offset + length > width:
                tile, offset, number = tile + 1, 0, 0
            yield length, 1, 1, tile, offset, number
            offset, number = offset + length, number + 1


def _pattern(left: dict[int, int], width: int) -> list[tuple[int, int]]:
    """(length, count) of the fullest tile that holds the longest sequence left."""
    longest = next(iter(left))
    # For each reachable sum, the first way to reach it: longer lengths first, so that short ones remain for later.
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
    """`tiles` rounded up to a multiple of a 32nd of the next lower power of two: at most 3% more."""
    step = 1 << max(0, tiles.bit_length() - 6)
    return -(-tiles // step) * step
