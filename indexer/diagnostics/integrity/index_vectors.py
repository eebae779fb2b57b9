"""Whether an index holds the vectors of its version's table, and finds them.

Letters: K products, Q of them that are searched for, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.diagnostics.space import VersionSpace
from indexer.index.kinds import FACTORY, IVF_SQ8
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray, evenly_spaced

# Half precision keeps a cosine above 0.99999.
_MIN_COSINE = 0.999
# 8 bits for each value keep 0.998 and more of vectors of width 16, and more of wider ones.
_MIN_COSINE_OF_8_BITS = 0.98
# Codes of an explicit factory may be so short that no cosine can be expected. But a product's code must be nearer to
# its own vector than to another's; where two vectors are alike, a code may be nearer to the other by some hundredths.
_MARGIN_OF_CODES = 0.1
# All K are compared with each other for that; and a search of an index that skips nothing reads all vectors.
_MAX_ROWS, _MAX_QUERIES = 1000, 100
# Two searches differ in their scores by rounding only.
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class IndexVectors:
    """What some products' vectors in an index say.

    Attributes:
        is_foreign: whether the index holds another vector than the table, [K].
        is_found: whether a search with a stored vector finds it, or one that is as near: [Q].
    """

    is_foreign: BoolArray
    is_found: BoolArray


def compare_index(space: VersionSpace, rows: IntArray) -> IndexVectors:
    """Compare the vectors of at most 1,000 of these products in the index with those in the table, and search for some.

    The exact answer to a stored vector is known without a scan: the vector itself.
    """
    rows = rows[evenly_spaced(rows.size, _MAX_ROWS)]
    held, stored = space.opened.index.vectors(rows), space.vectors(rows)
    some = evenly_spaced(rows.size, _MAX_QUERIES)
    return IndexVectors(
        is_foreign=_are_foreign(space.opened.index.kind, held, stored),
        is_found=_are_found(space, held[some], stored[some]),
    )


def _are_foreign(kind: str, held: FloatArray, stored: FloatArray) -> BoolArray:
    if kind == FACTORY:
        products = held @ stored.T
        return ~np.asarray(products.diagonal() >= products.max(axis=1) - _MARGIN_OF_CODES)
    cosines = np.vecdot(held, stored) / np.maximum(np.linalg.norm(held, axis=1), np.float32(1e-12))
    limit = _MIN_COSINE_OF_8_BITS if kind == IVF_SQ8.name else _MIN_COSINE
    return ~np.asarray(cosines >= limit)  # a damaged vector is not a number


def _are_found(space: VersionSpace, held: FloatArray, stored: FloatArray) -> BoolArray:
    best = space.opened.index.search(stored, 1).scores[:, 0]
    return np.asarray(best >= np.vecdot(held, stored) - _SCORE_TOLERANCE)
