"""Whether an index holds the vectors of its version's table, and finds them.

Letters: K products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.diagnostics.space import VersionSpace
from indexer.index.kinds import FACTORY, IVF_SQ8
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray

# Half precision keeps a cosine above 0.99999.
_MIN_COSINE = 0.999
# 8 bits for each value: 0.998 and more of vectors of width 16, and more of wider ones.
_MIN_COSINE_OF_8_BITS = 0.98
# Codes of an explicit factory may be so short that no cosine can be expected. But a product's code must be nearer to
# its own vector than to another's; where two vectors are alike, a code may be nearer to the other by some hundredths.
_MARGIN_OF_CODES = 0.1
# Two searches differ in their scores by rounding only.
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class IndexVectors:
    """What some products' vectors in an index say.

    Attributes:
        is_foreign: whether the index holds another vector than the table, [K].
        is_found: whether a search for the vector that the index holds finds it, or one that is as near: [K].
    """

    is_foreign: BoolArray
    is_found: BoolArray


def compare_index(space: VersionSpace, rows: IntArray) -> IndexVectors:
    """Compare the vectors of K products in the index with those in the table, and search for them."""
    index = space.opened.index
    held, stored = index.vectors(rows), space.vectors(rows)
    return IndexVectors(_are_foreign(index.kind, held, stored), _are_found(space, held, stored))


def _are_foreign(kind: str, held: FloatArray, stored: FloatArray) -> BoolArray:
    own = np.vecdot(held, stored) / np.maximum(np.linalg.norm(held, axis=1), np.float32(1e-12))
    if kind != FACTORY:
        foreign: BoolArray = ~(own >= (_MIN_COSINE_OF_8_BITS if kind == IVF_SQ8.name else _MIN_COSINE))
        return foreign
    products = held @ stored.T
    others: BoolArray = ~(np.vecdot(held, stored) >= products.max(axis=1) - _MARGIN_OF_CODES)
    return others


def _are_found(space: VersionSpace, held: FloatArray, stored: FloatArray) -> BoolArray:
    best = space.opened.index.search(stored, 1).scores[:, 0]
    found: BoolArray = best >= np.vecdot(held, stored) - _SCORE_TOLERANCE
    return found
