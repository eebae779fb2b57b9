"""Texts tokenised once: a flat array of token ids and where each row begins.

Letters: R rows, T tokens in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
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
    def from_rows(cls, rows: Sequence[Iterable[int]]) -> TokenTable:
        """A table of these rows."""
        arrays = [np.fromiter(row, dtype=np.int32) for row in rows]
        lengths = np.array([array.size for array in arrays], dtype=np.int64)
        return cls(np.concatenate(arrays) if arrays else np.empty(0, np.int32), offsets_of(lengths))

    @classmethod
    def concatenate(cls, tables: Sequence[TokenTable]) -> TokenTable:
        """The rows of several tables, one table after another; of none, a table without rows."""
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

    def batches(self, tokens: int) -> Iterator[NDArray[np.int64]]:
        """All rows, those of like length together, of about `tokens` tokens at most at once."""
        order = np.argsort(self.lengths, kind="stable")
        filled = np.cumsum(self.lengths[order]) // tokens
        yield from np.split(order, np.flatnonzero(np.diff(filled)) + 1)

    def firsts(self) -> NDArray[np.int64]:
        """[R] for every row the first one that equals it; itself where it is the first."""
        seen: dict[bytes, int] = {}
        rows = (seen.setdefault(self.row(index).tobytes(), index) for index in range(len(self)))
        return np.fromiter(rows, np.int64, len(self))

    def distinct(self) -> tuple[TokenTable, NDArray[np.int64]]:
        """Each different row once, in order of first occurrence, and for every row which one it is: [R]."""
        first, inverse = np.unique(self.firsts(), return_inverse=True)
        return self.take(first), inverse
