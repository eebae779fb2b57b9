"""A batch cut into chunks, so that what a step keeps in memory does not grow with the batch.

Where the cuts lie depends on the batch and the size of a chunk alone, so that a chunk is the same one whoever encodes
it. There are 1, 2, 4, 8 ... chunks: as many processes have equal shares then.

Letters: N sequences, C chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ubm_embed.data.arrays import IntArray, offsets_of


@dataclass(frozen=True)
class Chunks:
    """N sequences cut into C runs of neighbours.

    Attributes:
        bounds: [C + 1] where each begins and ends; chunk c is the sequences `bounds[c]` to `bounds[c + 1]`.
    """

    bounds: IntArray

    @classmethod
    def of(cls, lengths: IntArray, tokens: int | None, *, least: int = 1) -> Chunks:
        """Cut sequences of these lengths [N] into chunks of like many tokens.

        Args:
            tokens: a chunk has at most so many, and less than a sequence more; None for all in one.
            least: cut into so many at least, where there are as many sequences.
        """
        ends = offsets_of(lengths)
        needed = max(least, 1 if tokens is None else -(-int(ends[-1]) // tokens))
        count = 1 << (needed - 1).bit_length()
        cuts = np.searchsorted(ends, ends[-1] * np.arange(count + 1) / count)
        return cls(np.unique(cuts))  # where a sequence is longer than a chunk, two cuts are one

    def __len__(self) -> int:
        return self.bounds.size - 1

    def ends(self, chunk: int) -> tuple[int, int]:
        """Where a chunk begins and ends."""
        return int(self.bounds[chunk]), int(self.bounds[chunk + 1])

    def share(self, rank: int, world: int) -> range:
        """The chunks that process `rank` of `world` encodes; none where there are fewer chunks than processes."""
        return range(rank * len(self) // world, (rank + 1) * len(self) // world)

    def sizes(self, world: int) -> list[int]:
        """How many sequences each process encodes."""
        shares = [self.share(rank, world) for rank in range(world)]
        return [int(self.bounds[share.stop] - self.bounds[share.start]) for share in shares]
