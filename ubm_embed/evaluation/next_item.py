"""Next item prediction: models as scorers of all products, and the ranks of the targets.

Letters: E examples, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.evaluation.baselines import Scorer, seen_products
from ubm_embed.evaluation.ranking import target_ranks
from ubm_embed.inference.embedder import Embedder
from ubm_embed.progress import Progress, silent

# The scores of a batch are a dense [E, M]: 128 MB.
_MAX_SCORES = 1 << 25


@dataclass(frozen=True)
class SessionModel:
    """A model as a scorer: session vectors times product vectors (paper 3.4.3).

    Attributes:
        vectors: [M, D] of the products.
        texts: of the corpus; the rows of sessions are indices in it.
    """

    embedder: Embedder
    vectors: FloatArray
    texts: TokenTable

    @classmethod
    def from_embedder(
        cls, embedder: Embedder, products: pl.DataFrame, texts: TokenTable, progress: Progress = silent
    ) -> SessionModel:
        """Embed the catalogue."""
        return cls(embedder, embedder.embed_products(products, progress=progress), texts)

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        scores: FloatArray = self.embedder.embed_table(self.texts, prefixes) @ self.vectors.T
        return scores


def ranks_of(
    scorer: Scorer,
    examples: TaskExamples,
    products: int,
    *,
    repeats: bool = False,
    name: str = "",
    progress: Progress = silent,
    max_scores: int = _MAX_SCORES,
) -> NDArray[np.int64]:
    """The rank of each example's target among all products, ties against it: [E].

    Args:
        repeats: whether products that the prefix holds are candidates too.
        name: of the scorer, for `progress`.
        max_scores: scores in memory at once.
    """
    ranks = []
    size = max(1, min(512, max_scores // max(1, products)))
    for start in range(0, len(examples), size):
        stop = min(start + size, len(examples))
        batch = examples.take(np.arange(start, stop))
        seen = None if repeats else seen_products(batch.prefixes, products)
        ranks.append(target_ranks(scorer.scores(batch.prefixes), batch.targets, seen))
        progress(f"scoring {name}", stop, len(examples))
    return np.concatenate(ranks)
