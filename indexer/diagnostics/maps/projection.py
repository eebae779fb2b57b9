"""Vectors in two dimensions, and how much of them is left there.

Letters: N vectors, D width.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from ubm_embed.data.arrays import FloatArray
from ubm_embed.evaluation.principal_plane import PrincipalPlane
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.wording import percent

# Fewer points make no map, and have too few neighbours for the bandwidths of t-SNE.
MIN_POINTS = 10
_PERPLEXITY = 30  # the usual one, for some thousands of points


class MapMethod(enum.StrEnum):
    """How a map is made. The names are options of the command line."""

    PCA = "pca"
    TSNE = "tsne"


@dataclass(frozen=True)
class Projection:
    """A map.

    Attributes:
        plane: [N, 2] float32.
        explained: share of the variance that the two axes hold; None for t-SNE, whose axes mean nothing.
    """

    plane: FloatArray
    explained: float | None

    @property
    def words(self) -> str:
        """How the map was made, for a title."""
        if self.explained is None:
            return "t-SNE, whose distances between patches mean nothing"
        return f"PCA, the two axes hold {percent(self.explained)} of the variance"

    @property
    def axes(self) -> tuple[str, str]:
        """Titles of the axes of a chart."""
        if self.explained is None:
            return "t-SNE 1", "t-SNE 2"
        return "first principal component", "second principal component"


def project(vectors: FloatArray, method: MapMethod, seed: int) -> Projection:
    """A map of [N, D], N >= `MIN_POINTS`.

    Raises:
        NotFound: openTSNE is not installed.
    """
    if method is MapMethod.TSNE:
        return _tsne(vectors, seed)
    return _principal_components(vectors)


def _principal_components(vectors: FloatArray) -> Projection:
    plane = PrincipalPlane.fit(vectors)
    return Projection(plane.project(vectors), plane.explained)


def _tsne(vectors: FloatArray, seed: int) -> Projection:
    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = load_library("openTSNE", extra="tsne").TSNE(
        perplexity=perplexity, metric="cosine", initialization="pca", random_state=seed, n_jobs=1
    )
    return Projection(np.asarray(tsne.fit(vectors), np.float32), None)
