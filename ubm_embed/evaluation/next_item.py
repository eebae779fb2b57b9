"""Next item prediction: models as scorers of all products, and the ranks of the right ones.

Letters: E questions, M products, D width.
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

# A part of the questions at once: its scores are a dense [E, M].
_SCORES_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class SessionModel:
    """A model as a scorer: session vectors times product vectors (paper 3.4.3).

    Attributes:
        vectors: [M, D] of the products.
        texts: what the sessions' rows mean.
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
) -> NDArray[np.int64]:
    """The rank of each question's target among all products, ties against it: [E].

    Args:
        repeats: whether products that the prefix holds are candidates too.
    """
    parts = []
    size = max(1, min(512, _SCORES_AT_ONCE // max(1, products)))
    for start in range(0, len(examples), size):
        stop = min(start + size, len(examples))
        some = examples.take(np.arange(start, stop))
        seen = None if repeats else seen_products(some.prefixes, products)
        parts.append(target_ranks(scorer.scores(some.prefixes), some.targets, seen))
        progress(f"asking {name}", stop, len(examples))
    return np.concatenate(parts)
