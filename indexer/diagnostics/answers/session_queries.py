"""Sampled sessions as queries: all but the last product of each, and that product as the target.

Letters: B sessions, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.space import Space
from indexer.refresh.version_shift import rows_of
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.examples import TargetRange, TaskExamples
from ubm_embed.data.tasks.next_item_examples import next_item_sequences


@dataclass(frozen=True)
class SessionQueries:
    """B sessions without their last product.

    Attributes:
        vectors: of the sessions, [B, D].
        targets: the row of the last product that each session holds for the first time, [B].
        held: the rows of the products that each holds before it: B times [N].
        counts: how often each product of the space is chosen in other sessions, [M].
        sessions_of: how many of these sessions hold each product, [M].
        total: how many these sessions are.
    """

    vectors: FloatArray
    targets: IntArray
    held: list[IntArray]
    counts: NDArray[np.int64]
    sessions_of: NDArray[np.int64]
    total: int

    def __len__(self) -> int:
        return self.targets.size

    def popular(self, count: int) -> IntArray:
        """The rows of at most `count` products that most sessions hold, the first of equals: [N]."""
        order = np.argsort(-self.sessions_of, kind="stable")[:count]
        popular: IntArray = order[self.sessions_of[order] > 0]
        return popular


def session_queries(space: Space, sample: SessionSample) -> SessionQueries:
    """Read a sample's sessions; those without such a target among the products of the space are left out."""
    corpus = TokenizedCorpus.from_corpus(sample.corpus, space.embedder.tokenizer)
    rows = rows_of(space.product_ids, sample.corpus.products["product_id"])
    examples = _last_targets(corpus, rows)
    held = [_held(examples, index, rows) for index in range(len(examples))]
    vectors = space.embedder.embed_table(corpus.texts, examples.prefixes)
    counts, sessions_of = _counts(space, sample)
    return SessionQueries(vectors, rows[examples.targets], held, counts, sessions_of, sample.counted)


def _last_targets(corpus: TokenizedCorpus, rows: IntArray) -> TaskExamples:
    """Each session up to the last product that it holds for the first time, if the space has that product."""
    allowed = np.zeros(len(corpus.texts), dtype=bool)
    allowed[: corpus.products] = rows >= 0
    sessions = TargetRange.whole(corpus.sessions)
    limit = int(corpus.sessions.lengths.max(initial=1))  # so that no session is cut
    sequences = next_item_sequences(sessions, corpus.is_product, np.random.default_rng(0), limit=limit, allowed=allowed)
    owners = sequences.sessions.session_of()[sequences.positions]
    last = np.flatnonzero(np.append(owners[1:] != owners[:-1], owners.size > 0))
    return sequences.examples.take(last)


def _held(examples: TaskExamples, index: int, rows: IntArray) -> IntArray:
    begin, end = examples.prefixes.offsets[index : index + 2]
    texts = examples.prefixes.rows[begin:end]
    products = rows[texts[texts < rows.size]]
    return np.unique(products[products >= 0])


def _counts(space: Space, sample: SessionSample) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[M] interactions with each product, and sessions that hold it."""
    where = rows_of(space.product_ids, sample.counts["product_id"])
    known = where >= 0
    result = np.zeros((2, len(space)), dtype=np.int64)
    for row, name in enumerate(("count", "sessions")):
        result[row, where[known]] = sample.counts[name].to_numpy()[known]
    return result[0], result[1]
