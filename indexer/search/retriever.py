"""Sessions and products to matches, over one version of a store.

Letters: B sessions, K matches, D width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from indexer.catalogue.catalogue import Catalogue, find_products
from indexer.index.vector_index import VectorIndex
from indexer.search.answer import Answer, Match, Reason
from indexer.search.limits import Limits
from indexer.search.matcher import Hits, Matcher
from indexer.search.open_version import open_version
from indexer.search.prediction import Prediction, Predictors
from indexer.search.ranking import Rules
from indexer.search.reasons import reasons_for
from indexer.search.resolution import UNREADABLE, ResolvedSession, SessionResolver, as_read
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor


class Retriever:
    """Answers from one version of a store, undisturbed by what is published later.

    Its files are mapped: opening takes the same time for any number of products, and processes share the memory. An
    index of the kind `disk` answers for as long as the store keeps the version. Several threads may ask at once.

    Args:
        predictors: models that predict how a session will go on, at most one for each task; answers then say so.
        limits: what a request may ask at most.

    Raises:
        ValueError: two predictors for one task.
    """

    def __init__(
        self,
        version: StoreVersion,
        embedder: Embedder,
        index: VectorIndex,
        catalogue: Catalogue,
        predictors: Sequence[Predictor] = (),
        limits: Limits | None = None,
    ) -> None:
        self.version = version
        self.embedder = embedder
        self.limits = limits or Limits()
        self.predictors = Predictors(predictors)
        self._matcher: Matcher | None = Matcher(index, catalogue)
        readers = (embedder, *(predictor.embedder for predictor in predictors))
        reads_removals = all(reader.tokenizer.reads_removals for reader in readers)
        self._resolver = SessionResolver(catalogue, reads_removals=reads_removals)

    @classmethod
    def open(
        cls,
        store: str | Path,
        *,
        version: int | None = None,
        device: str = "auto",
        predictors: Sequence[Predictor] = (),
        embedder: Embedder | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """The live version of a store, or another one by its number.

        Args:
            device: where the model and the index are: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU if there is one.
                An index of a kind that FAISS cannot hold on a GPU stays in memory.
            predictors, limits: as of the class.
            embedder: of another retriever. If it has this version's model, it and its caches are shared.

        Raises:
            NotFound: no such store or version, or a library that reads it is not installed.
            InvalidData: a part of the version is damaged or missing, or contradicts its manifest.
            Conflict: the model in the store is not the one that made the vectors, or its product tower is another.
            ValueError: two predictors for one task, or no such device.
        """
        opened = open_version(EmbeddingStore.open(store), version, device, embedder)
        return cls(opened.version, opened.embedder, opened.index, opened.catalogue, predictors, limits)

    def close(self) -> None:
        """Let the version's files go; a request after that is an error. Let requests end first."""
        matcher, self._matcher = self._matcher, None
        if matcher is not None:
            matcher.catalogue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def matcher(self) -> Matcher:
        """What searches and ranks.

        Raises:
            ValueError: the retriever is closed.
        """
        if self._matcher is None:
            raise ValueError("the retriever is closed")
        return self._matcher

    @property
    def index(self) -> VectorIndex:
        """The version's vectors."""
        return self.matcher.index

    @property
    def catalogue(self) -> Catalogue:
        """The version's products."""
        return self.matcher.catalogue

    def recommend(self, session: Session, k: int = 10, rules: Rules | None = None, *, explain: bool = False) -> Answer:
        """The next products of a session. As `recommend_many`, for one."""
        return self.recommend_many([session], k, rules, explain=explain)[0]

    def recommend_many(
        self, sessions: Sequence[Session], k: int = 10, rules: Rules | None = None, *, explain: bool = False
    ) -> list[Answer]:
        """The next products of each session, all read and searched at once.

        Products named by id are read as the version has them. A session in which nothing can be read is answered by the
        most popular products under the same rules, without a prediction, and `fallback` says why. Of a session only the
        last `limits.interactions` are looked at.

        Args:
            rules: what else an answer must satisfy; by default it only leaves out products that the session holds.
            explain: say for each match which interactions pulled it up.

        Raises:
            InvalidData: the rules name a column that is not there, their condition is invalid, or the request asks for
                more than `limits`; or the version's files were changed.
            ValueError: `k` is below 1, or the retriever is closed.
        """
        started, rules = time.perf_counter(), rules or _NO_RULES
        matcher = self._ready_for(k, rules, len(sessions))
        recent = [_last(session, self.limits.interactions) for session in sessions]
        resolved = [as_read(one, self.embedder) for one in self._resolver.resolve(recent)]
        hidden = [one.seen if rules.exclude_seen else _NOTHING for one in resolved]
        readable = [row for row, one in enumerate(resolved) if one.fallback is None]
        results = dict(zip(readable, self._read(resolved, readable, hidden, k, rules, explain), strict=True))
        for row in range(len(sessions)):
            if row not in results:
                results[row] = _Result(matcher.popular(k, hidden[row], rules))
        return self._answers(resolved, [results[row] for row in range(len(sessions))], started)

    def lookup(self, product: Product, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one that the store need not know, by its text alone.

        A text of which the model knows no word is answered by the most popular products, and `fallback` says why.
        Predictions are for a session that holds only this product, as in `lookup_id`.

        Raises:
            InvalidData: the product has no text, or as `recommend_many`.
            ValueError: as `recommend_many`.
        """
        started, rules = time.perf_counter(), rules or _NO_RULES
        self._ready_for(k, rules)
        if not product.has_text:
            raise InvalidData("a product without text has no vector: expected a title, a category or an attribute")
        if not self._can_read(product):
            return self._popular_instead(k, _NOTHING, rules, started)
        return self._similar(product, self.embedder.embed_product(product), k, _NOTHING, rules, started)

    def lookup_id(self, product_id: str, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one of the store, by its stored vector, without itself; otherwise as `lookup`.

        Raises:
            NotFound: the version does not know the product.
            InvalidData, ValueError: as `recommend_many`.
        """
        started, rules = time.perf_counter(), rules or _NO_RULES
        matcher = self._ready_for(k, rules)
        position = find_products(matcher.catalogue, [product_id]).get(product_id)
        if position is None:
            raise NotFound(f"version {self.version.version} has no product {product_id!r}")
        product, itself = matcher.catalogue.products([position])[position], frozenset({position})
        if not self._can_read(product):
            return self._popular_instead(k, itself, rules, started)
        return self._similar(product, matcher.index.vectors(np.array([position]))[0], k, itself, rules, started)

    def _ready_for(self, k: int, rules: Rules, sessions: int = 1) -> Matcher:
        """The matcher, once a request is within the limits and the version's files are what they were."""
        self.limits.check(k, rules, sessions=sessions)
        matcher = self.matcher
        matcher.catalogue.require_unchanged()
        return matcher

    def _read(
        self,
        resolved: Sequence[ResolvedSession],
        readable: Sequence[int],
        hidden: Sequence[frozenset[int]],
        k: int,
        rules: Rules,
        explain: bool,
    ) -> list[_Result]:
        """What the model finds for the sessions that it can read."""
        if not readable:
            return []
        sessions = [resolved[row].session for row in readable]
        vectors = self.embedder.embed_sessions(sessions)
        nearest = self.matcher.nearest(vectors, k, [hidden[row] for row in readable], rules)
        predictions = self.predictors.predict_sessions(sessions)
        reasons = map(self._reasons, sessions, vectors, nearest) if explain else [None] * len(sessions)
        return list(map(_Result, nearest, predictions, reasons))

    def _can_read(self, product: Product) -> bool:
        view = Interaction(Action.VIEW, product=product)
        return bool(self.embedder.readable_session(Session((view,))).interactions)

    def _similar(
        self, product: Product, vector: FloatArray, k: int, hidden: frozenset[int], rules: Rules, started: float
    ) -> Answer:
        (hits,) = self.matcher.nearest(vector[None], k, [hidden], rules)
        return self._answers([_NO_SESSION], [_Result(hits, self.predictors.predict_product(product))], started)[0]

    def _popular_instead(self, k: int, hidden: frozenset[int], rules: Rules, started: float) -> Answer:
        unreadable = ResolvedSession(Session(()), fallback=UNREADABLE)
        return self._answers([unreadable], [_Result(self.matcher.popular(k, hidden, rules))], started)[0]

    def _reasons(self, session: Session, vector: FloatArray, hits: Hits) -> list[tuple[Reason, ...]]:
        products = self.catalogue.products(hits.positions)
        matches = [products[position] for position in hits.positions]
        vectors = self.index.vectors(np.array(hits.positions, np.int64))
        return reasons_for(self.embedder, session, vector, matches, vectors)

    def _answers(self, sessions: Sequence[ResolvedSession], results: Sequence[_Result], started: float) -> list[Answer]:
        rows = self.catalogue.rows(position for result in results for position in result.hits.positions)
        matches = [result.matches(rows) for result in results]
        took_ms = (time.perf_counter() - started) * 1000
        return [
            Answer(
                session_id=session.session.session_id,
                version=self.version.version,
                model_id=self.version.model_id,
                fallback=self._fallback(session),
                unknown=session.unknown,
                took_ms=took_ms,
                matches=matches[row],
                purchase_intention=results[row].prediction.purchase_intention,
                remaining_length=results[row].prediction.remaining_length,
            )
            for row, session in enumerate(sessions)
        ]

    def _fallback(self, session: ResolvedSession) -> str | None:
        if session.fallback is None or self.catalogue.popular.size:
            return session.fallback
        return f"{session.fallback}; no popularity is known, so there is nothing to answer with"


_NO_RULES = Rules()
_NOTHING = frozenset[int]()
# A lookup is answered like a session without interactions.
_NO_SESSION = ResolvedSession(Session(()))
# No model predicts anything about a session in which nothing can be read.
_NO_PREDICTION = Prediction()


@dataclass(frozen=True, slots=True)
class _Result:
    """What was found for one session or product."""

    hits: Hits
    prediction: Prediction = _NO_PREDICTION
    reasons: Sequence[tuple[Reason, ...]] | None = None

    def matches(self, rows: dict[int, dict[str, object]]) -> tuple[Match, ...]:
        """The hits with their rows of the table, by position."""
        positions = self.hits.positions
        scores: Sequence[float | None] = self.hits.scores or [None] * len(positions)
        reasons: Sequence[tuple[Reason, ...] | None] = self.reasons or [None] * len(positions)
        ranked = enumerate(zip(positions, scores, reasons, strict=True), start=1)
        return tuple(Match.from_row(rank, score, rows[position], why) for rank, (position, score, why) in ranked)


def _last(session: Session, count: int) -> Session:
    """A session with its last interactions only."""
    if len(session.interactions) <= count:
        return session
    return Session(session.interactions[-count:], session.session_id)
