"""Products that an answer should move away from, and how a session's vector does so.

    v' = unit(v - 0.5 x mean of the negatives' vectors)

This is Rocchio's feedback without its positive part. Both are of length at most 1, so that with a weight of 0.5 the
session always prevails: v' never points away from v, and is never 0. Scores are then cosines with v'.

Letters: N negatives, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexer.catalogue.catalogue import Catalogue, find_products
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.session import Interaction
from ubm_embed.inference.embedder import Embedder

_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Negatives:
    """The negatives of one query.

    Attributes:
        positions: of those in the catalogue.
        unknown: ids that the version does not know, each once.
        vectors: [N, D], of those that have one.
    """

    positions: frozenset[int]
    unknown: tuple[str, ...]
    vectors: FloatArray

    @classmethod
    def read(
        cls, interactions: Sequence[Interaction], catalogue: Catalogue, index: VectorIndex, embedder: Embedder
    ) -> Negatives:
        """Negatives by their stored vectors; those that the version does not know are embedded if given in full."""
        found = find_products(catalogue, filter(None, map(_id, interactions)))
        positions = list(dict.fromkeys(found.values()))
        others = [one for one in interactions if one.product is not None and _id(one) not in found]
        readable = [one for one, sequence in zip(others, embedder.tokenise(others), strict=True) if sequence.has_words]
        embedded = [embedder.embed_product(one.product) for one in readable if one.product is not None]
        unknown = (one.product_id for one in interactions if one.product_id is not None)
        return cls(
            frozenset(positions),
            tuple(dict.fromkeys(name for name in unknown if name not in found)),
            np.concatenate([index.vectors(np.array(positions, np.int64)), *(vector[None] for vector in embedded)]),
        )

    def move(self, vectors: FloatArray) -> FloatArray:
        """Vectors of sessions [B, D], moved away from them."""
        if not len(self.vectors):
            return vectors
        return unit_rows(vectors - np.float32(_WEIGHT) * self.vectors.mean(axis=0))


def _id(interaction: Interaction) -> str | None:
    return interaction.product_id if interaction.product is None else interaction.product.product_id
