"""How well a runtime's vectors agree with those of float32.

Letters: N texts, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ubm_embed.data.arrays import FloatArray

_NEAREST = 10
# Scores closer than this tie: it is the error allowed for a cosine in a float format. The sizes of one product tie, and
# sound 8-bit weights ordered them differently in a third of the cases. The error allowed in 8 bits is ten times this,
# but with that as the tie any order of those sizes would do, a scrambled one too.
_TIE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """The agreement of two sets of vectors of the same texts.

    Attributes:
        min_cosine: the smallest cosine between the two vectors of a text.
        nearest: the fraction of each text's ten nearest neighbours that are among its ten nearest by float32, or tie
            with them.
    """

    min_cosine: float
    nearest: float

    @classmethod
    def from_vectors(cls, exact: FloatArray, vectors: FloatArray) -> Agreement:
        """Of unit vectors [N, D] in float32 and those [N, D] of another runtime."""
        cosines = np.einsum("nd,nd->n", exact, vectors)
        return cls(float(cosines.min()), _nearest(exact, vectors))


def _nearest(exact: FloatArray, vectors: FloatArray) -> float:
    k = min(_NEAREST, len(exact) - 1)
    if k < 1:
        return 1.0
    exact_scores, scores = _scores(exact), _scores(vectors)
    kth_best = -np.partition(-exact_scores, k - 1, axis=1)[:, k - 1]
    neighbours = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    # Neighbours count by their score, not by their row: which of several equal products is found does not matter.
    return float((np.take_along_axis(exact_scores, neighbours, axis=1) >= kth_best[:, None] - _TIE).mean())


def _scores(vectors: FloatArray) -> FloatArray:
    """Each text's scores with all texts: [N, N], below any other score with itself."""
    scores: FloatArray = vectors @ vectors.T
    np.fill_diagonal(scores, -2.0)
    return scores
