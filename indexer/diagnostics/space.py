"""The vectors of products that a diagnosis looks at: a version's, or those that a model makes of a corpus.

A row is a product's position: of its vector, in the index and in the catalogue alike.

Letters: M products, K rows, D width.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import POPULARITY_FILE
from indexer.refresh.product_hashes import with_hashes
from indexer.search.open_version import OpenVersion, open_version
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.table_schema import POPULARITY, TEXT_HASH
from ubm_embed.data.arrays import FloatArray, IntArray, finite_rows
from ubm_embed.data.corpus import Corpus, iter_products
from ubm_embed.data.session import Product
from ubm_embed.inference.embedder import Embedder
from ubm_embed.progress import Progress, silent


class Space(Protocol):
    """Products and their vectors, of one model.

    Attributes:
        name: in words, such as "version 3".
        embedder: the model that reads sessions, and whose product tower made the vectors.
    """

    name: str
    embedder: Embedder

    def __len__(self) -> int:
        """M."""

    @property
    def product_ids(self) -> pl.Series:
        """[M]."""

    @property
    def popularity(self) -> NDArray[np.int64] | None:
        """[M] how often each product was chosen; None if that is not known."""

    def batches(self) -> Iterator[FloatArray]:
        """All vectors in order, some thousands at a time: each [N, D], of length 1; damaged ones as `vectors`."""

    def vectors(self, rows: IntArray) -> FloatArray:
        """[K, D]; 0 in place of one that is not finite."""

    def products(self, rows: IntArray) -> list[Product]:
        """What the model reads of these products: [K]."""

    def categories(self) -> tuple[NDArray[np.int32], Sequence[str]]:
        """The number of each product's category, -1 without one: [M]; and the categories by number."""

    def text_codes(self) -> NDArray[np.uint64]:
        """A hash of each product's title, category and attributes: [M]."""


class VersionSpace:
    """The vectors of a store's version as it was published, as its table keeps them. Use `open`.

    Attributes:
        opened: the version's manifest, model, index and catalogue.
    """

    def __init__(self, store: EmbeddingStore, opened: OpenVersion) -> None:
        self.store, self.opened = store, opened
        self.name = f"version {opened.version.version}"
        self.embedder = opened.embedder

    @classmethod
    @contextmanager
    def open(
        cls, store: EmbeddingStore, number: int | None = None, device: str = "auto", embedder: Embedder | None = None
    ) -> Iterator[VersionSpace]:
        """A version by its number, or the live one, which stays open inside the block.

        Args:
            embedder: is taken if it has the version's model.

        Raises:
            NotFound, InvalidData, Conflict: as of `Retriever.open`.
        """
        opened = open_version(store, number, device, embedder, revised=False)
        try:
            yield cls(store, opened)
        finally:
            opened.catalogue.close()

    def __len__(self) -> int:
        return self.opened.version.products

    @cached_property
    def product_ids(self) -> pl.Series:
        """[M]."""
        return self.store.table.read(self._table_version, ["product_id"])["product_id"]

    @cached_property
    def popularity(self) -> NDArray[np.int64] | None:
        """[M]; None if the store was built without interactions, or by software that did not count them."""
        version, table = self.opened.version, self.store.table
        if POPULARITY_FILE in version.files:  # that of the table is older where a version shares files
            content = self.store.storage.read(f"{version_folder(version.version)}/{POPULARITY_FILE}")
            counts = np.load(io.BytesIO(content), allow_pickle=False)
        elif POPULARITY in table.schema(self._table_version).names:
            counts = table.read(self._table_version, [POPULARITY])[POPULARITY].fill_null(0).to_numpy()
        else:
            return None
        return counts.astype(np.int64) if counts.any() else None

    def batches(self) -> Iterator[FloatArray]:
        """All vectors in order: each [N, D]."""
        return map(finite_rows, self.store.table.vector_batches(self._table_version))

    def vectors(self, rows: IntArray) -> FloatArray:
        """[K, D]."""
        return finite_rows(self.store.table.vectors(self._table_version, rows))

    def products(self, rows: IntArray) -> list[Product]:
        """[K]."""
        found = self.opened.catalogue.products(np.unique(rows).tolist())
        return [found[row] for row in np.asarray(rows).tolist()]

    def categories(self) -> tuple[NDArray[np.int32], Sequence[str]]:
        """[M], and the categories."""
        return _numbered(self.store.table.read(self._table_version, ["category"])["category"])

    def text_codes(self) -> NDArray[np.uint64]:
        """[M]."""
        table = self.store.table
        if TEXT_HASH in table.schema(self._table_version).names:
            return _codes(table.read(self._table_version, [TEXT_HASH])[TEXT_HASH])
        return _codes(with_hashes(table.read(self._table_version))[TEXT_HASH])  # older software wrote the table

    @property
    def _table_version(self) -> int:
        return self.opened.version.table_version


class ModelSpace:
    """The vectors that a model makes of a corpus's products, in memory. Use `embed`."""

    def __init__(
        self,
        name: str,
        embedder: Embedder,
        products: pl.DataFrame,
        matrix: FloatArray,
        popularity: NDArray[np.int64] | None,
    ) -> None:
        self.name, self.embedder, self.frame, self.matrix, self.popularity = (
            name,
            embedder,
            products,
            matrix,
            popularity,
        )

    @classmethod
    def embed(
        cls,
        name: str,
        embedder: Embedder,
        corpus: Corpus,
        *,
        max_products: int,
        seed: int,
        progress: Progress = silent,
    ) -> ModelSpace:
        """Embed a corpus's products, a sample if there are more than `max_products`."""
        products = corpus.products
        if products.height > max_products:
            chosen = np.random.default_rng([seed, 3]).choice(products.height, max_products, replace=False)
            products = products[np.sort(chosen)]
        counts = corpus.interactions.group_by("product_id").len("count")
        joined = products.select("product_id").join(counts, on="product_id", how="left", maintain_order="left")
        popularity = joined["count"].fill_null(0).cast(pl.Int64).to_numpy()
        return cls(name, embedder, products, embedder.embed_products(products, progress=progress), popularity)

    def __len__(self) -> int:
        return self.frame.height

    @property
    def product_ids(self) -> pl.Series:
        """[M]."""
        return self.frame["product_id"]

    def batches(self) -> Iterator[FloatArray]:
        """All vectors in order: each [N, D]."""
        yield finite_rows(self.matrix)

    def vectors(self, rows: IntArray) -> FloatArray:
        """[K, D]."""
        return finite_rows(self.matrix[rows])

    def products(self, rows: IntArray) -> list[Product]:
        """[K]."""
        return [*iter_products(self.frame[np.asarray(rows)])]

    def categories(self) -> tuple[NDArray[np.int32], Sequence[str]]:
        """[M], and the categories."""
        return _numbered(self.frame["category"])

    def text_codes(self) -> NDArray[np.uint64]:
        """[M]."""
        return _codes(with_hashes(self.frame)[TEXT_HASH])


def sample_rows(space: Space, count: int, seed: int) -> IntArray:
    """At most `count` rows of a space, drawn at random without repetition, ascending: [K]."""
    if count >= len(space):
        return np.arange(len(space))
    return np.sort(np.random.default_rng([seed, 4]).choice(len(space), count, replace=False))


def title_of(product: Product) -> str:
    """How a report names a product."""
    return product.title or product.product_id or "(without a title)"


def _codes(hashes: pl.Series) -> NDArray[np.uint64]:
    """The first eight bytes of each hash."""
    codes: NDArray[np.uint64] = hashes.bin.head(8).bin.reinterpret(dtype=pl.UInt64, endianness="little").to_numpy()
    return codes


def _numbered(categories: pl.Series) -> tuple[NDArray[np.int32], Sequence[str]]:
    names = categories.drop_nulls().unique().sort()
    codes = categories.replace_strict(names, pl.int_range(names.len(), dtype=pl.Int32, eager=True), default=-1)
    return codes.fill_null(-1).cast(pl.Int32).to_numpy(), names.to_list()
