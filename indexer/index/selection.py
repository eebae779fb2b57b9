"""Which vectors of an index may be found, in the forms that a search needs, computed once.

Letters: M vectors, P positions.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, IntArray


class Selection:
    """Some of M vectors. It never changes, so it may be kept and shared between threads.

    Attributes:
        mask: [M], which are selected. Do not write to it.
        count: how many are.
    """

    def __init__(self, mask: BoolArray) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))

    @classmethod
    def from_positions(cls, positions: IntArray, size: int) -> Selection:
        """The vectors at these positions of `size`; positions may repeat."""
        mask = np.zeros(size, bool)
        mask[positions] = True
        return cls(mask)

    def __len__(self) -> int:
        """M."""
        return self.mask.size

    @property
    def nbytes(self) -> int:
        """The most bytes of memory that it may take, with all its forms."""
        return self.mask.nbytes + self.mask.nbytes // 8 + 8 * self.count

    @cached_property
    def bitmap(self) -> NDArray[np.uint8]:
        """[ceil(M / 8)], a bit for each vector, the lowest first, as FAISS has it."""
        return np.packbits(self.mask, bitorder="little")

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The positions selected, in order: [P]."""
        return np.flatnonzero(self.mask)

    def without(self, positions: IntArray) -> Selection:
        """The same without these positions."""
        mask = self.mask.copy()
        mask[positions] = False
        return Selection(mask)
