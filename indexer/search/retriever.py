"""Sessions and products to matches, over one version of a store.

Letters: B sessions, K matches, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from indexer.catalogue.catalogue import Catalogue, find_products
from indexer.index.vector_index import VectorIndex
from indexer.search.answer import Answer
from indexer.search.answerer import Answerer
from indexer.search.limits import Limits
from indexer.search.matcher import Matcher
from indexer.search.open_version import OpenVersion, open_version
from indexer.search.prediction import Predictors
from indexer.search.query import Query, Timings
from indexer.search.ranking import Rules
from indexer.search.shared_files import SharedFiles
from indexer.search.sources import NO_SOURCES, Sources
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live
from indexer.versions.revision import Revision, version_label
from indexer.versions.version import StoreVersion
from ubm_embed.data.session import Product, Session
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor


class Retriever:
    """Answers from one version of a store under one of its revisions, undisturbed by what is published later.

    Its files are mapped: opening takes the same time for any number of products, and processes share the memory. An
    index of the kind `disk` answers for as long as the store keeps the version. Several threads may ask at once.

    Args:
        predictors: models that predict how a session will go on, at most one for each task; answers then say so.
        limits: what a request may ask at most.
        canaries, revision: as of `OpenVersion`.
        before: of the same model, predictors and files; what it remembers of products that did not change is shared.
        sources: what names candidates for sessions, besides the vectors.

    Attributes:
        published_index, published_catalogue: as of `OpenVersion`.

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
        canaries: bytes | None = None,
        revision: Revision | None = None,
        before: Retriever | None = None,
        sources: Sources = NO_SOURCES,
    ) -> None:
        self.version, self.revision = version, revision
        self.embedder, self.canaries = embedder, canaries
        self.limits = limits or Limits()
        self.predictors = Predictors(predictors)
        parts = version, embedder, Matcher(index, catalogue), self.predictors
        known = None if before is None else before._open_answerer
        self._answerer: Answerer | None = Answerer(*parts, revision, known, sources)
        self.published_index, self.published_catalogue = index, catalogue
        self._opened: tuple[EmbeddingStore, OpenVersion] | None = None
        self._files = SharedFiles(catalogue)

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
        counts: bool = True,
        words: bool = True,
    ) -> Self:
        """The live version of a store, or another one by its number, under its last revision.

        Args:
            device: where the model and the index are: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU if there is one.
                An index of a kind that FAISS cannot hold on a GPU stays in memory.
            predictors, limits: as of the class.
            embedder: of another retriever. If it has this version's model, it and its caches are shared.
            counts, words: whether these add to scores, if the version has them (see `Rules`).

        Raises:
            NotFound: no such store or version, or a library that reads it is not installed.
            InvalidData: a part of the version is damaged or missing, or contradicts its manifest.
            Conflict: the model in the store is not the one that made the vectors, or its product tower is another.
            ValueError: two predictors for one task, or no such device.
        """
        opened_store = EmbeddingStore.open(store)
        opened = open_version(opened_store, version, device, embedder, counts=counts, words=words)
        return cls._of(opened_store, opened, predictors, limits)

    @classmethod
    def _of(
        cls,
        store: EmbeddingStore,
        opened: OpenVersion,
        predictors: Iterable[Predictor],
        limits: Limits | None,
        before: Retriever | None = None,
    ) -> Self:
        parts = opened.version, opened.embedder, opened.index, opened.catalogue
        sources = Sources.from_version(opened.counts, opened.words)
        made = cls(*parts, tuple(predictors), limits, opened.canaries, opened.revision, before, sources)
        made._opened = store, opened
        made.published_index, made.published_catalogue = opened.published_index, opened.published_catalogue
        if before is not None and before.published_catalogue is made.published_catalogue:
            made._files = before._files.shared()
        else:  # not of `catalogue`, whose revision would stay in memory
            made._files = SharedFiles(made.published_catalogue)
        return made

    def can_advance(self, version: StoreVersion) -> bool:
        """Whether `advanced` can answer from this version: it has the same model, index and products."""
        return self._opened is not None and self._opened[1].shares_files(version)

    def advanced(self, live: Live) -> Self:
        """What is live, which is another revision of this version, or a version that shares its files.

        Only what this one has not read is read; what it remembers of products that did not change is shared. Both
        answer until they are closed, and the files are closed with the last one.

        Raises:
            InvalidData: a file of the revision is missing or damaged.
            Conflict: the live version has other files or another model.
            ValueError: the retriever is closed.
        """
        assert self._opened is not None, "it was made of parts, and has no store"
        store, opened = self._opened
        return self._of(store, opened.advanced(store, live), self.predictors.by_task.values(), self.limits, self)

    def close(self) -> None:
        """Let the version's files go; a request after that is an error. Let requests end first."""
        answerer, self._answerer = self._answerer, None
        if answerer is not None:
            self._files.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def label(self) -> str:
        """Version and revision as people write them."""
        return version_label(self.version.version, self.revision)

    @property
    def matcher(self) -> Matcher:
        """What searches and ranks.

        Raises:
            ValueError: the retriever is closed.
        """
        return self._open_answerer.matcher

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
            InvalidData, ValueError: as of `answer`.
        """
        return self.answer([Query(session, k, rules or _NO_RULES, explain) for session in sessions])

    def answer(self, queries: Sequence[Query], timings: Timings | None = None) -> list[Answer]:
        """One answer for each query, all read at once; those with the same rules are searched at once, too.

        A query gets the same answer alone and among others, as `recommend_many` describes it.

        Args:
            timings: to which the time of each part is added.

        Raises:
            InvalidData: the rules name a column that is not there, their condition is invalid, or the request asks for
                more than `limits`; or the version's files were changed.
            ValueError: `k` is below 1, or the retriever is closed.
        """
        self.limits.check_queries(queries)
        answerer = self._unchanged()
        return answerer.answer(list(map(self.limits.shortened, queries)), timings or Timings())

    def num_unread(self, query: Query) -> int:
        """How many interactions of a query will cost a pass of the model, since they are not cached.

        Products that are not remembered are looked up for it.

        Raises:
            InvalidData: the version's files were changed, or are damaged.
            ValueError: the retriever is closed.
        """
        return self._unchanged().num_unread(query) if self.max_unread(query) else 0

    def max_unread(self, query: Query) -> int:
        """As `num_unread`, but in microseconds, by what is remembered: at most as many.

        Raises:
            ValueError: the retriever is closed.
        """
        return self._open_answerer.max_unread(query)

    def has_compiled(self, rules: Rules) -> bool:
        """Whether rules are compiled, so that they cost a search and nothing else.

        Raises:
            ValueError: the retriever is closed.
        """
        return self._open_answerer.has_compiled(rules)

    def lookup(self, product: Product, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one that the store need not know, by its text alone.

        A text of which the model knows no word is answered by the most popular products, and `fallback` says why.
        Predictions are for a session that holds only this product, as in `lookup_id`.

        Raises:
            InvalidData: the product has no text, or as `recommend_many`.
            ValueError: as `recommend_many`.
        """
        self.limits.check(k, rules := rules or _NO_RULES)
        answerer = self._unchanged()
        if not product.has_text:
            raise InvalidData("a product without text has no vector: expected a title, a category or an attribute")
        return answerer.similar(product, k, rules)

    def lookup_id(self, product_id: str, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one of the store, by its stored vector, without itself; otherwise as `lookup`.

        Raises:
            NotFound: the version does not know the product.
            InvalidData, ValueError: as `recommend_many`.
        """
        self.limits.check(k, rules := rules or _NO_RULES)
        answerer = self._unchanged()
        position = find_products(self.catalogue, [product_id]).get(product_id)
        if position is None:
            raise NotFound(f"version {self.label} has no product {product_id!r}")
        product, vector = self.catalogue.products([position])[position], self.index.vectors(np.array([position]))[0]
        return answerer.similar(product, k, rules, vector=vector, itself=position)

    @property
    def _open_answerer(self) -> Answerer:
        if self._answerer is None:
            raise ValueError("the retriever is closed")
        return self._answerer

    def _unchanged(self) -> Answerer:
        """What answers, once the version's files are what they were."""
        answerer = self._open_answerer
        answerer.matcher.catalogue.require_unchanged()
        return answerer


_NO_RULES = Rules()
