"""What an index is trained with: vectors from everywhere in the catalogue, in memory that does not grow with it.

Letters: M vectors, N of them in the sample, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ubm_embed.data.arrays import FloatArray, IntArray, evenly


def training_sample(parts: Iterable[FloatArray], count: int, most: int, held_out: IntArray | None = None) -> FloatArray:
    """At most so many vectors, evenly spread, the same each time: [N, D].

    Args:
        parts: all vectors, some at a time: M together.
        count: M, or about that.
        held_out: rows that are left out.
    """
    rows = evenly(count, most)
    rows = rows if held_out is None else np.setdiff1d(rows, held_out)
    found, first = [], 0
    for vectors in parts:
        here = rows[(rows >= first) & (rows < first + len(vectors))] - first
        found.append(np.array(vectors[here], np.float32))
        first += len(vectors)
    return np.concatenate(found)
