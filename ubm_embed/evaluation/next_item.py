"""Next item prediction on held-out sessions, the model beside popularity and co-occurrence.

Letters: E questions, M products, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.tasks import NextItemExamples, next_item_examples
from ubm_embed.data.token_table import TokenTable
from ubm_embed.data.tokenized_corpus import TokenizedCorpus, held_out
from ubm_embed.embedder import Embedder
from ubm_embed.errors import InvalidData
from ubm_embed.evaluation.baselines import CoOccurrence, Popularity, Scorer, seen_products
from ubm_embed.evaluation.ranking import hit_at_k, mrr_at_k, target_ranks
from ubm_embed.progress import Progress, silent

_QUESTIONS_AT_ONCE = 512
CUTOFFS = (10, 20)


@dataclass(frozen=True)
class NextItemResult:
    """One row of the table.

    Attributes:
        scorer: its name.
        questions: E.
        hit, mrr: by k.
    """

    scorer: str
    questions: int
    hit: dict[int, float]
    mrr: dict[int, float]

    @classmethod
    def of(cls, scorer: str, ranks: NDArray[np.int64]) -> NextItemResult:
        """From the ranks of the targets, [E]."""
        hit = {k: hit_at_k(ranks, k) for k in CUTOFFS}
        return cls(scorer, ranks.size, hit, {k: mrr_at_k(ranks, k) for k in CUTOFFS})

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        document = asdict(self)
        return {**document, "hit": _by_name(self.hit), "mrr": _by_name(self.mrr)}


def _by_name(values: Mapping[int, float]) -> dict[str, float]:
    return {str(k): round(value, 4) for k, value in values.items()}


@dataclass(frozen=True)
class SessionModel:
    """A model as a scorer: session vectors times product vectors (paper 3.4.3), both of length 1.

    Attributes:
        vectors: [M, D] of the products.
        texts: what the sessions' rows mean.
    """

    embedder: Embedder
    vectors: FloatArray
    texts: TokenTable

    @classmethod
    def of(
        cls, embedder: Embedder, products: pl.DataFrame, texts: TokenTable, progress: Progress = silent
    ) -> SessionModel:
        """Embed the catalogue."""
        return cls(embedder, embedder.embed_products(products, progress=progress), texts)

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        last = prefixes.last(self.embedder.model.config.max_interactions)
        sessions = self.embedder.embed_tokenized_sessions(self.texts, last.actions, last.rows, last.lengths)
        scores: FloatArray = sessions @ self.vectors.T
        return scores


def evaluate_next_item(
    corpus: Corpus,
    embedder: Embedder,
    *,
    holdout: float,
    most: int = 10_000,
    seed: int = 0,
    progress: Progress = silent,
) -> list[NextItemResult]:
    """Ask the sessions that training left out: the model, co-occurrence and popularity, over all products.

    Products that the session holds already are no candidates; ties are ranked against the target. The baselines count
    the training sessions.

    Args:
        holdout: the share that pre-training held out.
        most: ask at most so many sessions, drawn at random.

    Raises:
        InvalidData: no held-out session has a second product.
    """
    tokenized = TokenizedCorpus.of(corpus, embedder.tokenizer)
    asked = held_out(tokenized.session_ids, holdout)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(np.flatnonzero(asked))[:most])
    examples = next_item_examples(tokenized.sessions.take(chosen), tokenized.is_product, rng)
    if not len(examples):
        raise InvalidData(f"no session with two products among the {asked.sum()} held out (holdout {holdout:g}) to ask")
    training = tokenized.sessions.take(np.flatnonzero(~asked))
    scorers: dict[str, Scorer] = {
        "UBM": SessionModel.of(embedder, corpus.products, tokenized.texts, progress),
        "co-occurrence": CoOccurrence.fit(training, tokenized.products),
        "popularity": Popularity.fit(training, tokenized.products),
    }
    return [
        NextItemResult.of(name, ranks_of(scorer, examples, tokenized.products, name, progress))
        for name, scorer in scorers.items()
    ]


def ranks_of(
    scorer: Scorer, examples: NextItemExamples, products: int, name: str = "", progress: Progress = silent
) -> NDArray[np.int64]:
    """The rank of each question's target, [E]."""
    parts = []
    for start in range(0, len(examples), _QUESTIONS_AT_ONCE):
        stop = min(start + _QUESTIONS_AT_ONCE, len(examples))
        prefixes = examples.prefixes.take(np.arange(start, stop))
        scores, seen = scorer.scores(prefixes), seen_products(prefixes, products)
        parts.append(target_ranks(scores, examples.targets[start:stop], seen))
        progress(f"asking {name}", stop, len(examples))
    return np.concatenate(parts)
