"""A version's canaries: a few products and sessions, with their vectors and matches when it was published.

They lie in `canaries.json` beside the manifest, not in it: every listing of versions reads all manifests. A version's
files are immutable and its model is a copy, so that canaries computed anew have the same vectors, unless a file was
changed, or a library or a processor computes differently.

Letters: N products, S sessions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from indexer.catalogue.catalogue import Catalogue
from indexer.index.vector_index import VectorIndex
from indexer.store.embedding_store import version_folder
from indexer.versions.version import CANARIES_FILE, StoreVersion
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced, finite_rows
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.environment import environment, environment_changes
from ubm_embed.validation import FrozenModel
from ubm_embed.wording import percent

# Together they cost a server some passes of the model at each version that it opens.
_PRODUCTS, _SESSIONS, _MATCHES = 8, 4, 10
# Each stands in the file some five times, in its sessions too.
_MAX_CHARACTERS = 10_000
# Float32 sums in another order: PyTorch and ONNX Runtime, one thread and two, and PyTorch without a CPU's vector
# instructions kept 0.9999998 on 1,000 products and 200 sessions of two models. Rounding elsewhere has a margin of 500.
MIN_COSINE = 0.9999
# The same vectors find the same matches in the same index; rounding may exchange the last of ten, in several sessions.
MIN_OVERLAP = 0.8
# A catalogue may have been read in 8 bits, which keeps 0.99; below that, sessions and products no longer fit together.
_MIN_COSINE_TO_ANSWER = 0.98
_MIN_OVERLAP_TO_ANSWER = 0.5


class Canaries(FrozenModel):
    """canaries.json.

    Attributes:
        model_id: the model that reads sessions.
        environment: libraries and processor that made the vectors (see `ubm_embed.inference.environment`).
        products: of the version's catalogue, N of them.
        product_vectors: of their texts by the model in float32, whatever read the catalogue: [N, D] little-endian.
        sessions: of these products and a search phrase, S of them.
        session_vectors: [S, D], likewise.
        matches: ids of the products that the index finds for each session, best first: [S, K].

    Raises:
        ValueError: the vectors do not have one width, or a session has no matches.
    """

    model_config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    model_id: str
    environment: Mapping[str, str]
    products: tuple[Product, ...]
    product_vectors: bytes
    sessions: tuple[Session, ...]
    session_vectors: bytes
    matches: tuple[tuple[str, ...], ...]

    @pydantic.model_validator(mode="after")
    def _require_agreement(self) -> Self:
        if not self.products or len(self.matches) != len(self.sessions) or not all(self.matches):
            raise ValueError("must have products, and matches for each session")
        width, rest = divmod(len(self.product_vectors), 4 * len(self.products))
        if rest or not width or len(self.session_vectors) != 4 * width * len(self.sessions):
            raise ValueError("must have vectors of one width, one for each product and session")
        return self

    @classmethod
    def make(cls, embedder: Embedder, index: VectorIndex, catalogue: Catalogue) -> Self | None:
        """The canaries of a version, the same whenever they are made; None if the model knows no word of a product.

        Args:
            embedder: of the version's model, with products read in float32.
        """
        products = [product for product in readable_products(embedder, catalogue)[1] if _is_short(product)]
        if not products:
            return None
        sessions = _sessions(products)
        vectors = embedder.embed_sessions(sessions)
        return cls(
            model_id=embedder.model_id,
            environment=environment(embedder.model_runtime.name, embedder.device),
            products=tuple(products),
            product_vectors=_to_bytes(embedder.embed_product_list(products)),
            sessions=sessions,
            session_vectors=_to_bytes(vectors),
            matches=_matches(index, catalogue, vectors),
        )

    def found_again(self, index: VectorIndex, catalogue: Catalogue) -> Self:
        """The same texts and vectors, with what another index over the same products finds for them."""
        vectors = np.frombuffer(self.session_vectors, "<f4").reshape(len(self.sessions), -1)
        return self.model_copy(update={"matches": _matches(index, catalogue, vectors)})

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return (self.model_dump_json(indent=2) + "\n").encode("utf-8")


class OpenParts(Protocol):
    """An `OpenVersion`, or a `Retriever`."""

    @property
    def version(self) -> StoreVersion: ...
    @property
    def embedder(self) -> Embedder: ...
    @property
    def published_index(self) -> VectorIndex: ...
    @property
    def published_catalogue(self) -> Catalogue: ...
    @property
    def canaries(self) -> bytes | None: ...


@dataclass(frozen=True, kw_only=True)
class CanaryCheck:
    """Canaries computed anew, beside what they were.

    Attributes:
        products: N of them.
        product_vectors: as they are now, [N, D].
        product_cosines, session_cosines: of each vector now and then: [N], [S].
        overlaps: share of each session's matches that it still has, [S].
        environment_changes: what differs in libraries and processor, in words.
    """

    products: tuple[Product, ...]
    product_vectors: FloatArray
    product_cosines: FloatArray
    session_cosines: FloatArray
    overlaps: NDArray[np.float64]
    environment_changes: tuple[str, ...]

    @property
    def cosine(self) -> float:
        """The least of all."""
        return float(np.concatenate([self.product_cosines, self.session_cosines]).min())

    @property
    def overlap(self) -> float:
        """The mean over the sessions."""
        return float(self.overlaps.mean())

    @property
    def has_changed(self) -> bool:
        """Whether the model makes other vectors, or they find other products, by more than rounding."""
        return not (self.cosine >= MIN_COSINE and self.overlap >= MIN_OVERLAP)

    @property
    def is_unfit(self) -> bool:
        """Whether the version must not answer like this."""
        return not (self.cosine >= _MIN_COSINE_TO_ANSWER and self.overlap >= _MIN_OVERLAP_TO_ANSWER)

    @property
    def change(self) -> str:
        """What has changed, with its figures."""
        count = self.product_cosines.size + self.session_cosines.size
        figures = (
            f"the least cosine of {count} is {self.cosine:.4f}, and {percent(self.overlap)} of the matches are the same"
        )
        if self.cosine >= MIN_COSINE:
            return f"the index finds other products than when the version was published ({figures})"
        return f"the model makes other vectors than when the version was published ({figures})"

    @property
    def problem(self) -> str:
        """What has changed, and what may be the reason."""
        reasons = ", ".join(self.environment_changes)
        reason = f"since then {reasons}" if reasons else "libraries and processor are the same, so a file was changed"
        return f"{self.change}: {reason}"


def check_canaries(parts: OpenParts) -> CanaryCheck | None:
    """Compute a version's canaries anew, and compare; None if older software published it.

    Raises:
        InvalidData: the file is damaged.
    """
    if parts.canaries is None:
        return None
    file = f"{version_folder(parts.version.version)}/{CANARIES_FILE}"
    canaries, embedder = Canaries.from_json(parts.canaries, file=file), parts.embedder
    products, sessions = embedder.embed_product_list(canaries.products), embedder.embed_sessions(canaries.sessions)
    # Without a revision, which may have deleted what was found then, or put something nearer.
    found = _matches(parts.published_index, parts.published_catalogue, sessions)
    matches = zip(canaries.matches, found, strict=True)
    now = environment(embedder.model_runtime.name, embedder.device)
    return CanaryCheck(
        products=canaries.products,
        product_vectors=products,
        product_cosines=_cosines(products, canaries.product_vectors),
        session_cosines=_cosines(sessions, canaries.session_vectors),
        overlaps=np.array([len({*before} & {*after}) / len(before) for before, after in matches]),
        environment_changes=tuple(environment_changes(canaries.environment, now)),
    )


def readable_products(embedder: Embedder, catalogue: Catalogue) -> tuple[IntArray, list[Product]]:
    """Positions [N] and products, evenly spaced, of whose texts the model knows a word."""
    positions = evenly_spaced(len(catalogue), _PRODUCTS)
    products = catalogue.products(positions.tolist())
    sequences = embedder.tokenise([Interaction(Action.VIEW, product=product) for product in products.values()])
    mask = np.array([sequence.has_words for sequence in sequences], bool)
    return positions[mask], [product for product, is_read in zip(products.values(), mask, strict=True) if is_read]


def _is_short(product: Product) -> bool:
    texts = (product.title, product.category or "", *(part for pair in product.attributes for part in pair))
    return sum(map(len, texts)) <= _MAX_CHARACTERS


def _sessions(products: list[Product]) -> tuple[Session, ...]:
    """Sessions of two products each, and a search for what a third one is called."""
    chosen = [products[number % len(products)] for number in range(2 * _SESSIONS + 1)]
    return tuple(_session(*chosen[first : first + 3]) for first in range(0, 2 * _SESSIONS, 2))


def _session(first: Product, second: Product, wanted: Product) -> Session:
    return Session(
        (
            Interaction(Action.VIEW, product=first),
            Interaction(Action.SEARCH, query=wanted.title or wanted.category or "-"),
            Interaction(Action.VIEW, product=second),
            Interaction(Action.ADD, product=second),
        )
    )


def _matches(index: VectorIndex, catalogue: Catalogue, vectors: FloatArray) -> tuple[tuple[str, ...], ...]:
    positions = index.search(finite_rows(vectors), _MATCHES).positions  # a damaged model finds anything
    ids = catalogue.values("product_id", positions.ravel())
    width = positions.shape[1]
    return tuple(tuple(ids[first : first + width]) for first in range(0, len(ids), width))


def _cosines(vectors: FloatArray, stored: bytes) -> FloatArray:
    before = np.frombuffer(stored, "<f4").reshape(len(vectors), -1)
    if before.shape != vectors.shape:  # of a model of another width
        return np.zeros(len(vectors), np.float32)
    cosines: FloatArray = np.vecdot(finite_rows(vectors), before)
    return cosines


def _to_bytes(vectors: FloatArray) -> bytes:
    return np.asarray(vectors, "<f4").tobytes()
