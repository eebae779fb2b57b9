"""Tokenised texts: a flat array of token ids, and where each row begins.

Letters: R rows, T tokens of all rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray, offsets_of, ragged_index


@dataclass(frozen=True)
class TokenTable:
    """R token sequences of different lengths.

    Attributes:
        ids: [T] int32 token ids, row after row.
        offsets: [R + 1] int64; row r is `ids[offsets[r]:offsets[r + 1]]`.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int] | IntArray]) -> TokenTable:
        """A table of these rows."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(np.fromiter(itertools.chain.from_iterable(rows), np.int32, lengths.sum()), offsets_of(lengths))

    @classmethod
    def concatenate(cls, tables: Sequence[TokenTable]) -> TokenTable:
        """The rows of several tables, one table after another; without tables, a table without rows."""
        if not tables:
            return cls.from_rows([])
        lengths = np.concatenate([table.lengths for table in tables])
        return cls(np.concatenate([table.ids for table in tables]), offsets_of(lengths))

    def __len__(self) -> int:
        return self.offsets.size - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[R] tokens in each row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> NDArray[np.int32]:
        """One row's token ids."""
        return self.ids[self.offsets[:-1][index] : self.offsets[1:][index]]

    def take(self, rows: IntArray) -> TokenTable:
        """A table of these rows ([K] indices, repeats allowed), in this order."""
        lengths = self.lengths[rows]
        return TokenTable(self.ids[ragged_index(self.offsets[:-1][rows], lengths)], offsets_of(lengths))

    def heads(self, limit: int | IntArray) -> TokenTable:
        """Each row cut to its first `limit` tokens (one number, or [R])."""
        lengths = np.minimum(self.lengths, limit)
        return TokenTable(self.ids[ragged_index(self.offsets[:-1], lengths)], offsets_of(lengths))

    def batches(self, tokens: int, *, by_length: bool = True) -> Iterator[NDArray[np.int64]]:
        """Indices of all rows in batches of about `tokens` tokens: rows of similar length together, or in order."""
        order = np.argsort(self.lengths, kind="stable") if by_length else np.arange(len(self))
        filled = np.cumsum(self.lengths[order]) // tokens
        yield from np.split(order, np.flatnonzero(np.diff(filled)) + 1)

    def firsts(self) -> NDArray[np.int64]:
        """[R] for every row the index of the first row that equals it."""
        first, which = self._distinct()
        return first[which]

    def distinct(self) -> tuple[TokenTable, NDArray[np.int64]]:
        """The distinct rows, in order of first occurrence, and for every row which of them it is: [R]."""
        first, which = self._distinct()
        return self.take(first), which

    def _distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the distinct rows, in order of first occurrence, and for every row which of them it is: [R]."""
        if len(self) < 2:
            return np.arange(len(self)), np.arange(len(self))
        ids = np.ascontiguousarray(self.ids)
        bounds = self.offsets * ids.itemsize
        rows = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(self), [None, pa.py_buffer(bounds), pa.py_buffer(ids)]
        )
        # From the buffer: to_numpy imports pandas if it is installed, which takes a quarter of a second.
        which = np.frombuffer(rows.dictionary_encode().indices.buffers()[1], np.int32, len(self)).astype(np.int64)
        return np.unique(which, return_index=True)[1], which
