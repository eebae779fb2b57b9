"""Vectors of products that an update changes, by the model of the live version, which is opened for the first of them.

Letters: K products, D width.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from indexer.store.embedding_store import EmbeddingStore, model_folder
from indexer.store.table_schema import TEXT_HASH
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData

if TYPE_CHECKING:
    from ubm_embed.inference.embedder import Embedder


class ProductEncoder:
    """Encodes products. One thread at a time may use it.

    Args:
        embedder: is taken for versions of its model; None to open the store's copy.
        device: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on the device.
    """

    def __init__(
        self, store: EmbeddingStore, embedder: Embedder | None = None, device: str = "auto", runtime: str | None = None
    ) -> None:
        self._store, self._embedder = store, embedder
        self._device, self._runtime = device, runtime
        self._folder = ExitStack()

    def encode(self, version: StoreVersion, products: pl.DataFrame) -> FloatArray:
        """Vectors of products as a version has them: [K, D].

        Raises:
            NotFound: the runtime's library is not installed.
            InvalidData, Conflict: the store's copy of the model is missing or damaged.
            QualityGateFailed: a vector is not of length 1, or the runtime's vectors do not agree with those of float32.
        """
        from indexer.refresh.shards import require_unit_length  # here, as most updates encode nothing

        vectors = self._model_of(version).embed_products(products)
        require_unit_length(vectors, products["product_id"])
        return vectors

    def close(self) -> None:
        """Release the files of the model."""
        self._folder.close()

    def _model_of(self, version: StoreVersion) -> Embedder:
        if self._embedder is None or self._embedder.model_id != version.model_id:
            self.close()
            self._embedder = self._opened(version)
        return self._embedder

    def _opened(self, version: StoreVersion) -> Embedder:
        from ubm_embed.inference.embedder import Embedder  # here, as most updates encode nothing
        from ubm_embed.model.folder import ModelFolder

        name = model_folder(version.model_id)
        try:
            # Its product tower is opened with the first product, so the folder stays.
            folder = self._folder.enter_context(self._store.storage.open_folder(name))
            model = ModelFolder.open(folder, model_id=version.model_id)
        except FileNotFoundError:
            problem = f"missing; version {version.version} needs this model"
            raise InvalidData(problem, file=f"{self._store.uri}/{name}") from None
        return Embedder(model, device=self._device, runtime=self._runtime)


class KnownVectors:
    """Vectors by text, so that nothing is encoded twice when an update is tried again."""

    def __init__(self, encoder: ProductEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[tuple[str, bytes], FloatArray] = {}
        self.encoded = 0

    def vectors(self, version: StoreVersion, products: pl.DataFrame) -> FloatArray:
        """Vectors of products with their `TEXT_HASH`: [K, D]."""
        keys = [(version.vectors_model_id, digest) for digest in products[TEXT_HASH]]
        missing = [row for row, key in enumerate(keys) if key not in self._vectors]
        if missing:
            encoded = self._encoder.encode(version, products[missing])
            self.encoded += len(missing)
            self._vectors.update(zip((keys[row] for row in missing), encoded, strict=True))
        return np.stack([self._vectors[key] for key in keys])
