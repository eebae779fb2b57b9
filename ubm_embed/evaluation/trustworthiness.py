"""How far a map can be trusted: whether neighbours on it are neighbours in the space (Venna and Kaski 2001).

Letters: N vectors, D width.
"""

from __future__ import annotations

from ubm_embed.data.arrays import FloatArray


def trustworthiness(vectors: FloatArray, plane: FloatArray, neighbors: int = 10) -> float:
    """0 to 1; 1 if the nearest `neighbors` of every point on the map are its nearest in the space, by cosine.

    Lower numbers of neighbours are taken of few points, for which the measure is defined below half of them only.

    Args:
        vectors: [N, D], N >= 3.
        plane: [N, 2].
    """
    from sklearn.manifold import trustworthiness as measure

    neighbors = min(neighbors, (len(vectors) - 1) // 2)
    return float(measure(vectors, plane, n_neighbors=neighbors, metric="cosine"))
