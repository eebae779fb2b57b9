"""Sessions and products to matches, over one version of a store.

Letters: B sessions, K matches, D width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from indexer.catalogue.catalogue import Catalogue, find_products
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.search.answer import Answer, Match, Reason
from indexer.search.matcher import Hits, Matcher
from indexer.search.prediction import Prediction, Predictors
from indexer.search.ranking import Rules
from indexer.search.reasons import reasons_for
from indexer.search.resolution import UNREADABLE, ResolvedSession, as_read, resolve_sessions
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.live import live_number
from indexer.versions.version import StoreVersion, read_version, require_files
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor


class Retriever:
    """Answers from one version of a store, undisturbed by what is published later.

    Its files are mapped: opening takes the same time for any number of products, and processes share the memory. An
    index of the kind `disk` answers for as long as the store keeps the version. Several threads may ask at once.

    Args:
        predictors: models that predict how a session will go on, at most one for each task; answers then say so.

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
    ) -> None:
        self.version = version
        self.embedder = embedder
        self.index = index
        self.catalogue = catalogue
        self.matcher = Matcher(index, catalogue)
        self.predictors = Predictors(predictors)
        readers = (embedder, *(predictor.embedder for predictor in predictors))
        self._reads_removals = all(reader.tokenizer.reads_removals for reader in readers)

    @classmethod
    def open(
        cls,
        store: str | Path,
        *,
        version: int | None = None,
        device: str = "auto",
        predictors: Sequence[Predictor] = (),
    ) -> Self:
        """The live version of a store, or another one by its number.

        Args:
            device: where the model and the index are: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU if there is one.
                An index of a kind that FAISS cannot hold on a GPU stays in memory.
            predictors: as of the class.

        Raises:
            NotFound: no such store or version.
            InvalidData: a part of the version is damaged or missing, or contradicts its manifest.
            Conflict: the model in the store is not the one that made the vectors, or its product tower is another.
            ValueError: two predictors for one task, or no such device.
        """
        opened = EmbeddingStore.open(store)
        number = live_number(opened) if version is None else version
        while True:
            try:
                return cls._open_version(opened, read_version(opened, number), device, predictors)
            except (InvalidData, NotFound, OSError):
                # While a version is read, later ones may be published and this one pruned: then the live one is tried.
                if version is not None or live_number(opened) == number:
                    raise
                number = live_number(opened)

    @classmethod
    def _open_version(
        cls, store: EmbeddingStore, version: StoreVersion, device: str, predictors: Sequence[Predictor]
    ) -> Self:
        with _open_folder(store, version_folder(version.version)) as folder:
            require_files(version, folder)
            index = open_index(store.table, version.table_version, version.index_spec, folder)
            _require_equal("vectors", len(index), version.indexed, folder / INDEX_FILE)
            _require_equal("width", index.dimension, version.dimension, folder / INDEX_FILE)
            catalogue = open_catalogue(store, version, folder)
        gpu = gpu_number(device)
        if gpu is not None:
            index.move_to_gpu(gpu)
        return cls(version, _open_model(store, version, device), index, catalogue, predictors)

    def recommend(self, session: Session, k: int = 10, rules: Rules | None = None, *, explain: bool = False) -> Answer:
        """The next products of a session. As `recommend_many`, for one."""
        return self.recommend_many([session], k, rules, explain=explain)[0]

    def recommend_many(
        self, sessions: Sequence[Session], k: int = 10, rules: Rules | None = None, *, explain: bool = False
    ) -> list[Answer]:
        """The next products of each session, all read and searched at once.

        Products named by id are read as the version has them. A session in which nothing can be read is answered by the
        most popular products under the same rules, without a prediction, and `fallback` says why.

        Args:
            rules: what else an answer must satisfy; by default it only leaves out products that the session holds.
            explain: say for each match which interactions pulled it up.

        Raises:
            InvalidData: the rules name a column that is not there, or their condition is invalid.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started, rules = time.perf_counter(), rules or Rules()
        resolved = resolve_sessions(sessions, self.catalogue, reads_removals=self._reads_removals)
        resolved = [as_read(one, self.embedder) for one in resolved]
        hidden = [one.seen if rules.exclude_seen else frozenset[int]() for one in resolved]
        readable = [row for row, one in enumerate(resolved) if one.fallback is None]
        read = [resolved[row].session for row in readable]
        vectors = self.embedder.embed_sessions(read)
        nearest = self.matcher.nearest(vectors, k, [hidden[row] for row in readable], rules)
        predictions = self.predictors.predict_sessions(read)
        reasons = map(self._reasons, read, vectors, nearest) if explain else [None] * len(read)
        results = dict(zip(readable, map(_Result, nearest, predictions, reasons), strict=True))
        for row in range(len(sessions)):
            if row not in results:
                results[row] = _Result(self.matcher.popular(k, hidden[row], rules))
        return self._answers(resolved, [results[row] for row in range(len(sessions))], started)

    def lookup(self, product: Product, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one that the store need not know, by its text alone.

        A text of which the model knows no word is answered by the most popular products, and `fallback` says why.
        Predictions are for a session that holds only this product, as in `lookup_id`.

        Raises:
            InvalidData: the product has no text, or as `recommend_many`.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        if not product.has_text:
            raise InvalidData("a product without text has no vector: expected a title, a category or an attribute")
        if not self._can_read(product):
            return self._popular_instead(k, frozenset(), rules or Rules(), started)
        vectors = self.embedder.embed_product(product)[None]
        (hits,) = self.matcher.nearest(vectors, k, [frozenset()], rules or Rules())
        return self._answers([_NO_SESSION], [_Result(hits, self.predictors.predict_product(product))], started)[0]

    def lookup_id(self, product_id: str, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one of the store, by its stored vector, without itself; otherwise as `lookup`.

        Raises:
            NotFound: the version does not know the product.
            InvalidData: as `recommend_many`.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        position = find_products(self.catalogue, [product_id]).get(product_id)
        if position is None:
            raise NotFound(f"version {self.version.version} has no product {product_id!r}")
        product, itself = self.catalogue.products([position])[position], frozenset({position})
        if not self._can_read(product):
            return self._popular_instead(k, itself, rules or Rules(), started)
        vectors = self.index.vectors(np.array([position]))
        (hits,) = self.matcher.nearest(vectors, k, [itself], rules or Rules())
        return self._answers([_NO_SESSION], [_Result(hits, self.predictors.predict_product(product))], started)[0]

    def _can_read(self, product: Product) -> bool:
        view = Interaction(Action.VIEW, product=product)
        return bool(self.embedder.readable_session(Session((view,))).interactions)

    def _popular_instead(self, k: int, hidden: frozenset[int], rules: Rules, started: float) -> Answer:
        unreadable = ResolvedSession(Session(()), fallback=UNREADABLE)
        return self._answers([unreadable], [_Result(self.matcher.popular(k, hidden, rules))], started)[0]

    def _reasons(self, session: Session, vector: FloatArray, hits: Hits) -> list[tuple[Reason, ...]]:
        products = self.catalogue.products(hits.positions.tolist())
        matches = [products[position] for position in hits.positions.tolist()]
        return reasons_for(self.embedder, session, vector, matches, self.index.vectors(hits.positions))

    def _answers(self, sessions: Sequence[ResolvedSession], results: Sequence[_Result], started: float) -> list[Answer]:
        rows = self.catalogue.rows(int(position) for result in results for position in result.hits.positions)
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


# A lookup is answered like a session without interactions.
_NO_SESSION = ResolvedSession(Session(()))
# No model predicts anything about a session in which nothing can be read.
_NO_PREDICTION = Prediction()


@dataclass(frozen=True)
class _Result:
    """What was found for one session or product."""

    hits: Hits
    prediction: Prediction = _NO_PREDICTION
    reasons: Sequence[tuple[Reason, ...]] | None = None

    def matches(self, rows: dict[int, dict[str, object]]) -> tuple[Match, ...]:
        """The hits with their rows of the table, by position."""
        positions = self.hits.positions.tolist()
        scores = [None] * len(positions) if self.hits.scores is None else self.hits.scores.tolist()
        reasons: Sequence[tuple[Reason, ...] | None] = self.reasons or [None] * len(positions)
        ranked = enumerate(zip(positions, scores, reasons, strict=True), start=1)
        return tuple(Match.from_row(rank, score, rows[position], why) for rank, (position, score, why) in ranked)


def gpu_number(device: str) -> int | None:
    """The number of the GPU that a device's name means for an index: 0 for "auto" and "cuda", None for "cpu"."""
    kind, _, number = device.partition(":")
    return None if kind == "cpu" else int(number) if number.isdecimal() else 0


def _require_positive(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _open_model(store: EmbeddingStore, version: StoreVersion, device: str) -> Embedder:
    name = f"{store.uri}/{model_folder(version.model_id)}"
    try:
        with store.storage.open_folder(model_folder(version.model_id)) as folder:
            embedder = Embedder.from_pretrained(folder, device=device)
    except FileNotFoundError:
        raise InvalidData(f"missing; version {version.version} needs this model", file=name) from None
    except NotFound as error:
        raise InvalidData(f"version {version.version} needs this model: {error}", file=name) from None
    if embedder.model_id != version.model_id:
        raise Conflict(f"{name} holds model {embedder.model_id}, which did not make version {version.version}")
    _require_equal("width", embedder.dimension, version.dimension, name)
    return embedder


@contextmanager
def _open_folder(store: EmbeddingStore, name: str) -> Iterator[Path]:
    """As `Storage.open_folder`; a missing folder is damage to the store."""
    try:
        with store.storage.open_folder(name) as folder:
            yield folder
    except FileNotFoundError as error:
        raise InvalidData("missing; the store is damaged", file=error.filename or f"{store.uri}/{name}") from None


def _require_equal(what: str, actual: int, expected: int, file: Path | str) -> None:
    if actual != expected:
        raise InvalidData(f"{actual} {what}, but the manifest says {expected}", file=file)
