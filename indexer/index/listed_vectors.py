"""Vectors of an index of lists by their positions, decoded from the mapped file of the index.

FAISS keeps which list a vector is in, and where, in a direct map. It reads that map into the memory of each process;
here it stays in the file.

Letters: M vectors, L lists, K positions, D width.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.faiss_factory import load_faiss
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced

# FAISS decodes more than these in threads of its own.
_ROWS_AT_ONCE = 1000
_ID_BYTES = 8
_CHECKED_VECTORS = 16


def has_listed_codes(index: Any) -> bool:
    """Whether an index is lists of codes that stand one after the other, each of which can be decoded by itself."""
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    lists = index.invlists if isinstance(index, faiss.IndexIVFScalarQuantizer) else None
    return isinstance(faiss.downcast_InvertedLists(lists), faiss.ArrayInvertedLists) if lists is not None else False


@dataclass(frozen=True)
class ListLayout:
    """Where the vectors of an index of lists are.

    Attributes:
        direct_map: as FAISS has it: 2^32 times the list of a vector, plus its index in the list. [M]
        nlist: L.
        bytes_per_vector: of a code and an id.
    """

    direct_map: NDArray[np.int64]
    nlist: int
    bytes_per_vector: int

    @classmethod
    def of(cls, index: Any) -> Self:
        """Of an index that has a direct map."""
        direct_map = load_faiss().vector_to_array(index.direct_map.array)
        return cls(direct_map, index.nlist, index.code_size + _ID_BYTES)

    def starts(self, end: int) -> NDArray[np.int64]:
        """Where each list begins in a file whose lists end at this byte: [L]."""
        sizes = np.bincount(self.direct_map >> 32, minlength=self.nlist) * self.bytes_per_vector
        starts: NDArray[np.int64] = np.cumsum(sizes) - sizes + (end - sizes.sum())
        return starts


class ListedVectors:
    """The vectors of a mapped index of lists.

    Args:
        index: FAISS's, without a direct map.
        mapped: its file.
        starts: where the codes of each list begin in the file: [L].
        direct_map: as `ListLayout`.
    """

    def __init__(self, index: Any, mapped: mmap.mmap, starts: NDArray[np.int64], direct_map: NDArray[np.int64]) -> None:
        self._index = index
        self._starts, self._direct_map = starts, direct_map
        self._code_size, self._list_bytes = int(index.code_size), int(index.sa_code_size()) - int(index.code_size)
        # A view in which a code begins at every byte, so that NumPy copies whole codes.
        self._codes = self._records(mapped, self._code_size)
        self._ids = self._records(mapped, _ID_BYTES)

    @staticmethod
    def _records(mapped: mmap.mmap, size: int) -> NDArray[Any]:
        return np.ndarray((len(mapped) - size + 1,), f"V{size}", mapped, strides=(1,))

    @property
    def layout(self) -> ListLayout:
        """Where the vectors are."""
        return ListLayout(self._direct_map, len(self._starts), self._code_size + _ID_BYTES)

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions: [K] -> [K, D]."""
        vectors = np.empty((len(positions), self._index.d), np.float32)
        for first in range(0, len(positions), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            vectors[part] = self._index.sa_decode(self._coded(positions[part]))
        return vectors

    def _coded(self, positions: IntArray) -> NDArray[np.uint8]:
        """Codes as FAISS decodes them, with the number of the list before each: [K] -> [K, bytes]."""
        lists, starts, rows = self._slots(positions)
        coded = np.empty((len(positions), self._list_bytes + self._code_size), np.uint8)
        coded[:, : self._list_bytes] = lists.astype("<i8").view(np.uint8).reshape(-1, 8)[:, : self._list_bytes]
        codes = self._codes[starts + rows * self._code_size]
        coded[:, self._list_bytes :] = codes.view(np.uint8).reshape(-1, self._code_size)
        return coded

    def _slots(self, positions: IntArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The list of each position, where it begins, and the index in it: [K] each. IndexError if there is none."""
        slots = self._direct_map[positions]
        if slots.min(initial=0) < 0:
            raise IndexError("a list before the first")
        lists = slots >> 32
        return lists, self._starts[lists], slots & 0xFFFFFFFF

    def require_agreement(self) -> None:
        """Check with some vectors that the lists have them where they should be.

        Raises:
            ValueError: they are elsewhere, or there is another number of them.
            IndexError: they would be outside the file.
        """
        index, positions = self._index, evenly_spaced(len(self._direct_map), _CHECKED_VECTORS)
        if (index.ntotal, index.nlist) != (len(self._direct_map), len(self._starts)):
            raise ValueError("another number of vectors or lists")
        lists, starts, rows = self._slots(positions)
        sizes = np.array([index.get_list_size(int(one)) for one in lists])
        ids = self._ids[starts + sizes * self._code_size + rows * _ID_BYTES].view("<i8")
        if (ids != positions).any():
            raise ValueError("vectors are not where the map says")
