"""Counts under another numbering of the products, in which new ones take those of their nearest known texts.

Letters: M products, O products before, K nearest known products, N sources, E entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.counts.counting import NEIGHBOURS, largest_of_rows
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray, offsets_of, ragged_index, summed

NEAREST = 8  # known products that a new one takes counts from, at most
_TEMPERATURE = 0.05  # of their cosines: that of the model's own scores
_MIN_WEIGHT = 0.01  # of one of them against the nearest
# Entries that are made at once, of some 60 bytes each.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Sources:
    """A sparse matrix A [M, O]: of which products before each product has the counts.

    Attributes:
        offsets: [M + 1] int64; the sources of product m are `[offsets[m]:offsets[m + 1]]` of the other two.
        products: [N] of the O products before.
        weights: [N] float32.
    """

    offsets: NDArray[np.int64]
    products: NDArray[np.int64]
    weights: FloatArray

    @classmethod
    def kept_and_nearest(cls, before: IntArray, nearest: IntArray, cosines: FloatArray) -> Self:
        """A product that was there has its own counts, a new one the weighted mean of those of its nearest.

        Args:
            before: [M] which of the O products it was; below 0 if it is new.
            nearest: [new, K] for each new product, ascending, products before; below 0 for none.
            cosines: [new, K] of their vectors, see `shares_of`.
        """
        new = np.flatnonzero(before < 0)
        weights = shares_of(nearest, cosines)
        is_source = weights > 0
        lengths = np.ones(before.size, np.int64)
        lengths[new] = is_source.sum(axis=1)
        offsets = offsets_of(lengths)
        products, of_products = np.empty(offsets[-1], np.int64), np.ones(offsets[-1], np.float32)
        known = np.flatnonzero(before >= 0)
        products[offsets[known]] = before[known]
        of_new = ragged_index(offsets[new], lengths[new])
        products[of_new], of_products[of_new] = nearest[is_source], weights[is_source]
        return cls(offsets, products, of_products)

    def transposed(self, count: int) -> Sources:
        """[O, M], where O is `count`: which products have the counts of each one before."""
        order = np.argsort(self.products, kind="stable")
        users = np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets))
        offsets = offsets_of(np.bincount(self.products, minlength=count))
        return Sources(offsets, users[order], self.weights[order])


def shares_of(nearest: IntArray, cosines: FloatArray) -> FloatArray:
    """What each of its nearest known products counts for in a new one, 1 in all: [new, K], a softmax of the cosines.

    Products at an angle of 90 degrees or more, or far behind the nearest, are left out.

    Args:
        nearest: [new, K]; below 0 for none.
        cosines: [new, K].
    """
    cosines = np.where(nearest >= 0, cosines, np.float32(0)).astype(np.float32)
    behind = cosines.max(axis=1, keepdims=True, initial=0) - cosines
    weights = np.exp(-behind / np.float32(_TEMPERATURE))
    weights[(cosines <= 0) | (weights < _MIN_WEIGHT)] = 0
    shares: FloatArray = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-12))
    return shares


def renumbered(counts: TransitionCounts, sources: Sources, *, neighbours: int = NEIGHBOURS) -> TransitionCounts:
    """A C A^T without its diagonal, each row cut to its largest entries; made in parts, in bounded memory.

    Args:
        counts: C, of the O products before.
        sources: A, of M products.
        neighbours: entries that a row keeps.
    """
    users = sources.transposed(counts.products)
    parts = [_rows(counts, sources, users, rows, neighbours) for rows in _chunks(counts, sources, users)]
    lengths, columns, values = (list(part) for part in zip(*parts, strict=True)) if parts else ([], [], [])
    dtype: np.dtype[Any] = counts.values.dtype
    return TransitionCounts(
        offsets_of(np.concatenate([np.empty(0, np.int64), *lengths])),
        np.concatenate([np.empty(0, np.int32), *columns]),
        np.concatenate([np.empty(0, dtype), *values]),
    )


def spread_to_new(
    counts: TransitionCounts,
    nearest: IntArray,
    cosines: FloatArray,
    is_known: BoolArray,
    *,
    neighbours: int = NEIGHBOURS,
) -> TransitionCounts:
    """The counts with rows and columns for new products: a weighted mean of those of the nearest known ones.

    Args:
        nearest: [M - known, K] for each new product, ascending, its nearest known products; below 0 for none.
        cosines: [M - known, K] of their vectors.
        is_known: [M] whether a product keeps its own row and column.
        neighbours: entries that a row keeps.
    """
    before = np.where(is_known, np.arange(is_known.size), -1)
    return renumbered(counts, Sources.kept_and_nearest(before, nearest, cosines), neighbours=neighbours)


def _chunks(counts: TransitionCounts, sources: Sources, users: Sources) -> Iterator[slice]:
    """Rows of the result of which about `_CHUNK` entries are made at once, at least one."""
    fan = np.diff(users.offsets)
    made = sum(int(fan[part].sum()) for part in np.array_split(counts.neighbours, 1 + counts.neighbours.size // _CHUNK))
    limit = max(1, _CHUNK * counts.neighbours.size // max(made, counts.neighbours.size, 1))
    # Entries that are read before each row.
    read = offsets_of(np.diff(counts.offsets)[sources.products])[sources.offsets]
    first, count = 0, read.size - 1
    while first < count:
        stop = int(np.searchsorted(read, read[first] + limit, side="right")) - 1
        stop = min(max(stop, first + 1), count)
        yield slice(first, stop)
        first = stop


def _rows(
    counts: TransitionCounts, sources: Sources, users: Sources, rows: slice, neighbours: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """Some rows of the result: their lengths, and their entries."""
    products, number = sources.offsets.size - 1, rows.stop - rows.start
    here = slice(int(sources.offsets[rows.start]), int(sources.offsets[rows.stop]))
    of_rows = np.repeat(np.arange(rows.start, rows.stop), np.diff(sources.offsets[rows.start : rows.stop + 1]))
    read = _entries(counts.offsets, sources.products[here])
    values = counts.values[read.at].astype(np.float32) * sources.weights[here][read.of]
    made = _entries(users.offsets, counts.neighbours[read.at])
    columns, values = users.products[made.at], values[made.of] * users.weights[made.at]
    of_entries = of_rows[read.of[made.of]]
    is_pair = columns != of_entries
    keys, values = summed((of_entries * products + columns)[is_pair], values[is_pair])
    lengths = np.bincount(keys // products - rows.start, minlength=number)
    kept = largest_of_rows(offsets_of(lengths), values, neighbours)
    keys, values = keys[kept], values[kept].astype(counts.values.dtype)
    lengths = np.bincount(keys // products - rows.start, minlength=number)
    return lengths, (keys % products).astype(np.int32), values


class _Entries(NamedTuple):
    """The entries of some rows end to end: where each is, and of which of the rows: [E] each."""

    at: NDArray[np.int64]
    of: NDArray[np.int64]


def _entries(offsets: NDArray[np.int64], rows: IntArray) -> _Entries:
    starts = offsets[rows]
    lengths = offsets[np.asarray(rows) + 1] - starts
    return _Entries(ragged_index(starts, lengths), np.repeat(np.arange(lengths.size), lengths))
