"""Sessions and products to matches, over one version of a store.

Letters: B sessions, K matches, D width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer.answer import Answer, Match
from indexer.catalogue import IDS_FILE, Catalogue, read_ids
from indexer.index import INDEX_FILE, VectorIndex
from indexer.prediction import Prediction, Predictors
from indexer.readable import ReadableSession, readable_sessions
from indexer.store import EmbeddingStore, model_folder, version_folder
from indexer.versions.live import live_number
from indexer.versions.version import StoreVersion, read_version, require_files
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Product, Session
from ubm_embed.embedder import Embedder
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.predictor import Predictor


@dataclass(frozen=True)
class _Hits:
    """Positions and scores of one answer, best first; no scores where popularity chose."""

    positions: NDArray[np.int64]
    scores: FloatArray | None = None


class Retriever:
    """Answers from one version of a store, held in memory: what is published later does not disturb it.

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
            index = VectorIndex.load(folder / INDEX_FILE)
            _require_equal("vectors", len(index), manifest.indexed, folder / INDEX_FILE)
            _require_equal("width", index.dimension, manifest.dimension, folder / INDEX_FILE)
            ids = read_ids(folder / IDS_FILE)
            _require_equal("ids", ids.len(), manifest.indexed, folder / IDS_FILE)
            catalogue = Catalogue.of(store.table.read(manifest.table_version), ids, file=folder / IDS_FILE)
        return cls(manifest, _open_model(store, manifest, device), index, catalogue, predictors)

    def recommend(self, session: Session, k: int = 10, *, exclude_seen: bool = True) -> Answer:
        """The next products of a session. As `recommend_many`, for one."""
        return self.recommend_many([session], k, exclude_seen=exclude_seen)[0]

    def recommend_many(self, sessions: Sequence[Session], k: int = 10, *, exclude_seen: bool = True) -> list[Answer]:
        """The next products of each session, all read and searched at once.

        Products named by id are read as the version has them. When nothing is left to read, the most popular products
        answer, and `fallback` says why; such a session gets no prediction.

        Args:
            exclude_seen: leave out products that the session holds.

        Raises:
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        asked = readable_sessions(sessions, self.catalogue)
        hidden = [one.seen if exclude_seen else frozenset[int]() for one in asked]
        readable = [row for row, one in enumerate(asked) if one.fallback is None]
        read = [asked[row].session for row in readable]
        vectors = self.embedder.embed_sessions(read)
        nearest = self._nearest(vectors, k, [hidden[row] for row in readable])
        found = dict(zip(readable, nearest, strict=True))
        hits = [found.get(row) or self._popular(k, out) for row, out in enumerate(hidden)]
        said = dict(zip(readable, self.predictors.sessions(read), strict=True))
        return self._answers(asked, hits, [said.get(row, _UNSAID) for row in range(len(asked))], started)

    def lookup(self, product: Product, k: int = 10) -> Answer:
        """The products most like one that the store need not know, by its text alone.

        Predictions are of a session of just this product; so they are in `lookup_id`.

        Raises:
            InvalidData: the product has no text.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        if not product.has_text:
            raise InvalidData("a product without text has no vector: expected a title, a category or an attribute")
        hits = self._nearest(self.embedder.embed_product(product)[None], k, [frozenset()])
        return self._answers([_NO_SESSION], hits, [self.predictors.product(product)], started)[0]

    def lookup_id(self, product_id: str, k: int = 10) -> Answer:
        """The products most like one of the store, by its stored vector; itself left out.

        Raises:
            NotFound: the version does not know the product.
            ValueError: `k` is below 1.
        """
        _require_positive(k)
        started = time.perf_counter()
        position = self.catalogue.positions.get(product_id)
        if position is None:
            raise NotFound(f"version {self.version.version} has no product {product_id!r}")
        hits = self._nearest(self.index.vectors(np.array([position])), k, [frozenset({position})])
        said = self.predictors.product(self.catalogue.products([position])[position])
        return self._answers([_NO_SESSION], hits, [said], started)[0]

    def _nearest(self, vectors: FloatArray, k: int, hidden: Sequence[frozenset[int]]) -> list[_Hits]:
        """The K nearest of each vector [B, D], without what is hidden from it."""
        found = self.index.search(vectors, k + max(map(len, hidden), default=0))
        hits = []
        for scores, positions, out in zip(found.scores, found.positions, hidden, strict=True):
            shown = np.flatnonzero(~np.isin(positions, list(out)))[:k]
            hits.append(_Hits(positions[shown], scores[shown]))
        return hits

    def _popular(self, k: int, hidden: frozenset[int]) -> _Hits:
        first = self.catalogue.popular[: k + len(hidden)]
        return _Hits(first[~np.isin(first, list(hidden))][:k])

    def _answers(
        self, asked: Sequence[ReadableSession], hits: Sequence[_Hits], said: Sequence[Prediction], started: float
    ) -> list[Answer]:
        rows = self.catalogue.rows(int(position) for found in hits for position in found.positions)
        matches = [_matches(found, rows) for found in hits]
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


def _matches(hits: _Hits, rows: dict[int, dict[str, Any]]) -> tuple[Match, ...]:
    scores = [None] * hits.positions.size if hits.scores is None else hits.scores.tolist()
    ranked = zip(hits.positions.tolist(), scores, strict=True)
    return tuple(_match(rank, score, dict(rows[position])) for rank, (position, score) in enumerate(ranked, start=1))


def _match(rank: int, score: float | None, row: dict[str, Any]) -> Match:
    product_id, title, category = (row.pop(name) for name in ("product_id", "title", "category"))
    return Match(rank, product_id, score, title, category, row)


def _require_positive(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _open_model(store: EmbeddingStore, manifest: StoreVersion, device: str) -> Embedder:
    name = f"{store.uri}/{model_folder(manifest.model_id)}"
    try:
        with store.place.reading(model_folder(manifest.model_id)) as folder:
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
    """As `Place.reading`, of a folder that must be there."""
    try:
        with store.place.reading(name) as folder:
            yield folder
    except FileNotFoundError as error:
        raise InvalidData("missing; the store is damaged", file=error.filename or f"{store.uri}/{name}") from None


def _require_equal(what: str, found: int, expected: int, file: Path | str) -> None:
    if found != expected:
        raise InvalidData(f"{found} {what}, but the manifest says {expected}", file=file)
