"""How well an engine's vectors agree with those of float32.

Letters: N texts, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ubm_embed.data.arrays import FloatArray

_NEAREST = 10
# As far as a cosine may be off in a format of floats (`choice`): nearer than that, two scores are a tie. The sizes of
# one product are, and sound 8 bits were measured to order them otherwise in a third of the cases. In 8 bits a cosine
# may be off ten times as much, but by that measure any order of those sizes would do, a scrambled one too.
_TIE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """Of some texts.

    Attributes:
        cosine: of each text's two vectors, the least.
        nearest: share of each text's ten nearest that are, by float32, as near as its ten nearest, or tie with them.
    """

    cosine: float
    nearest: float

    @classmethod
    def of(cls, exact: FloatArray, found: FloatArray) -> Agreement:
        """Of unit vectors [N, D] in float32 and those [N, D] of the same texts by another engine."""
        cosines = np.einsum("nd,nd->n", exact, found)
        return cls(float(cosines.min()), _nearest(exact, found))


def _nearest(exact: FloatArray, found: FloatArray) -> float:
    k = min(_NEAREST, len(exact) - 1)
    if k < 1:
        return 1.0
    truth, others = _scores(exact), _scores(found)
    least = -np.partition(-truth, k - 1, axis=1)[:, k - 1]
    chosen = np.argpartition(-others, k - 1, axis=1)[:, :k]
    # By its score, not by its row: which of several equal products is found does not matter.
    return float((np.take_along_axis(truth, chosen, axis=1) >= least[:, None] - _TIE).mean())


def _scores(vectors: FloatArray) -> FloatArray:
    """Each with each: [N, N]; with itself, what no other can be as low as."""
    scores: FloatArray = vectors @ vectors.T
    np.fill_diagonal(scores, -2.0)
    return scores
