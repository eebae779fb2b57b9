"""Sessions and products to matches, over one version of a store.

Letters: B sessions, K matches, D width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from indexer.index.kinds import DISK
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.search.answer import Answer, Match, Reason
from indexer.search.catalogue import IDS_FILE, Catalogue, CatalogueInMemory, read_ids
from indexer.search.catalogue_on_disk import CatalogueOnDisk
from indexer.search.matcher import Hits, Matcher
from indexer.search.prediction import Prediction, Predictors
from indexer.search.ranking import Rules
from indexer.search.reasons import reasons_of
from indexer.search.resolution import ReadableSession, readable_sessions
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.index_of import index_of
from indexer.versions.live import live_number
from indexer.versions.version import StoreVersion, read_version, require_files
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Product, Session
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor


class Retriever:
    """Answers from one version of a store; what is published later does not disturb it.

    All of it is held in memory, unless the index is of the kind `disk`: then only for as long as the store keeps the
    version.

    Args:
        predictors: models that say what a session will come to, at most one a task; answers have what they say.

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
            device: of the store's model; "auto" takes a GPU where there is one.
            predictors: as the class has them.

        Raises:
            NotFound: no such store or version.
            InvalidData: a part of the version is damaged or missing, or contradicts its manifest.
            Conflict: the model in the store is not the one that made the vectors, or its product tower is another.
            ValueError: two predictors for one task.
        """
        opened = EmbeddingStore.open(store)
        number = live_number(opened) if version is None else version
        while True:
            try:
                return cls._of(opened, read_version(opened, number), device, predictors)
            except (InvalidData, NotFound, OSError):
                # While a version is read, so many may be published that it is pruned; then a newer one is there.
                if version is not None or live_number(opened) == number:
                    raise
                number = live_number(opened)

    @classmethod
    def _of(cls, store: EmbeddingStore, manifest: StoreVersion, device: str, predictors: Sequence[Predictor]) -> Self:
        with _reading(store, version_folder(manifest.version)) as folder:
            require_files(manifest, folder)
            index = index_of(store.table, manifest.table_version, manifest.form, folder)
            if device != "cpu":
                index.move_to_gpu()
            _require_equal("vectors", len(index), manifest.indexed, folder / INDEX_FILE)
            _require_equal("width", index.dimension, manifest.dimension, folder / INDEX_FILE)
            catalogue = _catalogue(store, manifest, folder)
        return cls(manifest, _open_model(store, manifest, device), index, catalogue, predictors)

    def recommend(self, session: Session, k: int = 10, rules: Rules | None = None, *, explain: bool = False) -> Answer:
        """The next products of a session. As `recommend_many`, for one."""
        return self.recommend_many([session], k, rules, explain=explain)[0]

    def recommend_many(
        self, sessions: Sequence[Session], k: int = 10, rules: Rules | None = None, *, explain: bool = False
    ) -> list[Answer]:
        """The next products of each session, all read and searched at once.

        Products named by id are read as the version has them. When nothing is left to read, the most popular products
        answer under the same rules, and `fallback` says why; such a session gets no prediction.

        Args:
            rules: what else an answer has to be; by default it only leaves out what the session holds.
            explain: say of each match which interactions pulled it up.

        Raises:
            InvalidData: the rules name a column that is not there, or their condition is none.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started, rules = time.perf_counter(), rules or Rules()
        asked = readable_sessions(sessions, self.catalogue)
        hidden = [one.seen if rules.exclude_seen else frozenset[int]() for one in asked]
        readable = [row for row, one in enumerate(asked) if one.fallback is None]
        read = [asked[row].session for row in readable]
        vectors = self.embedder.embed_sessions(read)
        nearest = self.matcher.nearest(vectors, k, [hidden[row] for row in readable], rules)
        found = dict(zip(readable, nearest, strict=True))
        hits = [found.get(row) or self.matcher.popular(k, out, rules) for row, out in enumerate(hidden)]
        said = dict(zip(readable, self.predictors.sessions(read), strict=True))
        reasons = dict(zip(readable, map(self._reasons, read, vectors, nearest), strict=True)) if explain else {}
        return self._answers(
            asked,
            hits,
            [said.get(row, _UNSAID) for row in range(len(asked))],
            started,
            [reasons.get(row, ()) for row in range(len(asked))],
        )

    def lookup(self, product: Product, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one that the store need not know, by its text alone.

        Predictions are of a session of just this product; so they are in `lookup_id`.

        Raises:
            InvalidData: the product has no text, or as `recommend_many`.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        if not product.has_text:
            raise InvalidData("a product without text has no vector: expected a title, a category or an attribute")
        vectors = self.embedder.embed_product(product)[None]
        hits = self.matcher.nearest(vectors, k, [frozenset()], rules or Rules())
        return self._answers([_NO_SESSION], hits, [self.predictors.product(product)], started)[0]

    def lookup_id(self, product_id: str, k: int = 10, rules: Rules | None = None) -> Answer:
        """The products most like one of the store, by its stored vector; itself left out.

        Raises:
            NotFound: the version does not know the product.
            InvalidData: as `recommend_many`.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        position = self.catalogue.find([product_id]).get(product_id)
        if position is None:
            raise NotFound(f"version {self.version.version} has no product {product_id!r}")
        vectors = self.index.vectors(np.array([position]))
        hits = self.matcher.nearest(vectors, k, [frozenset({position})], rules or Rules())
        said = self.predictors.product(self.catalogue.products([position])[position])
        return self._answers([_NO_SESSION], hits, [said], started)[0]

    def _reasons(self, session: Session, vector: FloatArray, hits: Hits) -> list[tuple[Reason, ...]]:
        products = self.catalogue.products(hits.positions.tolist())
        matched = [products[position] for position in hits.positions.tolist()]
        return reasons_of(self.embedder, session, vector, matched, self.index.vectors(hits.positions))

    def _answers(
        self,
        asked: Sequence[ReadableSession],
        hits: Sequence[Hits],
        said: Sequence[Prediction],
        started: float,
        reasons: Sequence[Sequence[tuple[Reason, ...]]] = ((),),
    ) -> list[Answer]:
        rows = self.catalogue.rows(int(position) for found in hits for position in found.positions)
        matches = [_matches(found, rows, why) for found, why in zip(hits, reasons, strict=True)]
        took_ms = (time.perf_counter() - started) * 1000
        return [
            Answer(
                session_id=one.session.session_id,
                version=self.version.version,
                model_id=self.version.model_id,
                fallback=self._reason(one),
                unknown=one.unknown,
                took_ms=took_ms,
                matches=found,
                purchase_intention=prediction.purchase_intention,
                remaining_length=prediction.remaining_length,
            )
            for one, found, prediction in zip(asked, matches, said, strict=True)
        ]

    def _reason(self, asked: ReadableSession) -> str | None:
        if asked.fallback is None or self.catalogue.popular.size:
            return asked.fallback
        return f"{asked.fallback}; no popularity is known, so there is nothing to answer with"


# A lookup asks without a session.
_NO_SESSION = ReadableSession(Session(()))
# Of a session that cannot be read no model says anything.
_UNSAID = Prediction()


def _matches(hits: Hits, rows: dict[int, dict[str, Any]], reasons: Sequence[tuple[Reason, ...]]) -> tuple[Match, ...]:
    scores = [None] * hits.positions.size if hits.scores is None else hits.scores.tolist()
    why: Sequence[tuple[Reason, ...] | None] = reasons or [None] * hits.positions.size
    ranked = zip(hits.positions.tolist(), scores, why, strict=True)
    return tuple(
        _match(rank, score, dict(rows[position]), one) for rank, (position, score, one) in enumerate(ranked, start=1)
    )


def _match(rank: int, score: float | None, row: dict[str, Any], reasons: tuple[Reason, ...] | None) -> Match:
    product_id, title, category = (row.pop(name) for name in ("product_id", "title", "category"))
    return Match(rank, product_id, score, title, category, row, reasons)


def _require_positive(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _catalogue(store: EmbeddingStore, manifest: StoreVersion, folder: Path) -> Catalogue:
    if manifest.form.kind is DISK:
        return CatalogueOnDisk(store.table.snapshot(manifest.table_version))
    ids = read_ids(folder / IDS_FILE)
    _require_equal("ids", ids.len(), manifest.indexed, folder / IDS_FILE)
    return CatalogueInMemory.of(store.table.read(manifest.table_version), ids, file=folder / IDS_FILE)


def _open_model(store: EmbeddingStore, manifest: StoreVersion, device: str) -> Embedder:
    name = f"{store.uri}/{model_folder(manifest.model_id)}"
    try:
        with store.storage.open_folder(model_folder(manifest.model_id)) as folder:
            embedder = Embedder.from_pretrained(folder, device=device)
    except FileNotFoundError:
        raise InvalidData(f"missing; version {manifest.version} needs this model", file=name) from None
    except NotFound as error:
        raise InvalidData(f"version {manifest.version} needs this model: {error}", file=name) from None
    if embedder.model_id != manifest.model_id:
        raise Conflict(f"{name} holds model {embedder.model_id}, which did not make version {manifest.version}")
    _require_equal("width", embedder.dimension, manifest.dimension, name)
    return embedder


@contextmanager
def _reading(store: EmbeddingStore, name: str) -> Iterator[Path]:
    """As `Storage.open_folder`, of a folder that must be there."""
    try:
        with store.storage.open_folder(name) as folder:
            yield folder
    except FileNotFoundError as error:
        raise InvalidData("missing; the store is damaged", file=error.filename or f"{store.uri}/{name}") from None


def _require_equal(what: str, found: int, expected: int, file: Path | str) -> None:
    if found != expected:
        raise InvalidData(f"{found} {what}, but the manifest says {expected}", file=file)
