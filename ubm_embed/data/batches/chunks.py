"""A batch cut into chunks, so that the memory of a training step does not grow with the batch.

The cuts depend on the batch and the chunk size alone, so that a chunk is the same whichever process encodes it. The
number of chunks is a power of two, so that 2, 4, 8 ... processes get equal shares.

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
    def from_lengths(cls, lengths: IntArray, tokens: int | None, *, min_chunks: int = 1) -> Chunks:
        """Cut sequences of these lengths [N] into chunks of about equally many tokens.

        Args:
            tokens: upper limit of a chunk, exceeded by less than one sequence; None puts everything in one chunk.
            min_chunks: cut into at least this many, if there are as many sequences.
        """
        ends = offsets_of(lengths)
        needed = max(min_chunks, 1 if tokens is None else -(-int(ends[-1]) // tokens))
        count = 1 << (needed - 1).bit_length()
        cuts = np.searchsorted(ends, ends[-1] * np.arange(count + 1) / count)
        return cls(np.unique(cuts))  # where a sequence is longer than a chunk, two cuts are one

    def __len__(self) -> int:
        return self.bounds.size - 1

    def ends(self, chunk: int) -> tuple[int, int]:
        """Where a chunk begins and ends."""
        return int(self.bounds[chunk]), int(self.bounds[chunk + 1])

    def share(self, rank: int, world: int) -> range:
        """The chunks that process `rank` of `world` encodes; maybe none, with fewer chunks than processes."""
        return range(rank * len(self) // world, (rank + 1) * len(self) // world)

    def sizes(self, world: int) -> list[int]:
        """How many sequences each process encodes."""
        shares = [self.share(rank, world) for rank in range(world)]
        return [int(self.bounds[share.stop] - self.bounds[share.start]) for share in shares]
