"""Products whose texts are read again: is the stored vector that of the text, of an earlier one, or another product's?

Letters: K products, N those whose vector is not that of their text, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.diagnostics.space import VersionSpace
from indexer.refresh.exact_scan import exact_scan
from indexer.search.canaries import MIN_COSINE
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.inference.runtimes.runtime_name import RuntimeName

# A catalogue read in 8 bits or bfloat16 was published with a cosine of at least 0.99 to float32 on a sample of 512
# (measured: 0.9995 in 8 bits, 0.9999 in bfloat16); of a million texts some may be further off.
_MIN_COSINE_OF_COARSE = 0.98
_FLOAT32 = {RuntimeName.TORCH, RuntimeName.ONNX}
# The vector of a text may stand at several rows: those of equal texts, and one that it was swapped to. If more than
# these have an equal text, the vector may count as stale instead.
_CANDIDATES = 32


@dataclass(frozen=True)
class StoredVectors:
    """What reading some products' texts again says of their stored vectors.

    Attributes:
        rows: of the products, [K].
        cosines: of each stored vector and that of the text, [K].
        limit: of a cosine; below it a vector is not that of the text.
        found_at: rows at which the vector of a product's text stands instead, in place of the vector of another text;
            by the product's row.
        stale: rows of the products whose vector stands nowhere else.
    """

    rows: IntArray
    cosines: FloatArray
    limit: float
    found_at: dict[int, int]
    stale: IntArray


def min_cosine(version: StoreVersion) -> float:
    """The least cosine of a sound vector and its text's in float32, by the runtimes that read the version's texts."""
    names = {*(version.runtime or RuntimeName.TORCH).split(", ")}
    return MIN_COSINE if names <= _FLOAT32 else _MIN_COSINE_OF_COARSE


def compare_texts(space: VersionSpace, rows: IntArray) -> StoredVectors:
    """Read the texts of K products again. If a vector differs, one pass over all vectors looks for it elsewhere."""
    limit = min_cosine(space.opened.version)
    fresh, cosines = _read_again(space, rows)
    wrong = ~(cosines >= limit)  # a damaged vector is not a number
    found_at = _found_at(space, rows[wrong], fresh[wrong], limit) if wrong.any() else {}
    stale = np.array([row for row in rows[wrong].tolist() if row not in found_at], np.int64)
    return StoredVectors(rows, cosines, limit, found_at, stale)


def _read_again(space: VersionSpace, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """The vectors of K products' texts, and their cosines with the stored ones: [K, D], [K]."""
    fresh = space.embedder.embed_product_list(space.products(rows))
    return fresh, np.vecdot(fresh, space.vectors(rows))


def _found_at(space: VersionSpace, rows: IntArray, fresh: FloatArray, limit: float) -> dict[int, int]:
    """Where else the vectors [N, D] of the texts of these rows [N] stand.

    A row of an equal text has that vector by right: it counts only if the vector is not that of its own text.
    """
    nearest = exact_scan(space.batches(), fresh, _CANDIDATES).nearest
    near = (nearest.scores >= limit) & (nearest.positions != rows[:, None])
    candidates = np.unique(nearest.positions[near])
    if not candidates.size:
        return {}
    is_wrong = ~(_read_again(space, candidates)[1] >= limit)
    wrong = near & np.isin(nearest.positions, candidates[is_wrong])
    return _first_position(rows, nearest.positions, wrong)


def _first_position(rows: IntArray, positions: IntArray, mask: BoolArray) -> dict[int, int]:
    """The first of each row's positions that the mask has, of the rows that have one."""
    hits = np.flatnonzero(mask.any(axis=1))
    first = mask.argmax(axis=1)
    return {int(rows[hit]): int(positions[hit, first[hit]]) for hit in hits}
