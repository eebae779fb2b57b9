"""The libraries that ours is compared with, each built with its own defaults where it has any.

Letters: B queries, K nearest, M vectors, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.retrieval.searchers import Parts, Searcher
from indexer.index.faiss_factory import layers_of, load_faiss
from indexer.index.kinds import EF_SEARCH
from indexer.index.tuning import search_values as values_up_to
from ubm_embed.data.arrays import FloatArray, IntArray


class Faiss:
    """FAISS by a factory string, with defaults for everything except the search value."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._index: Any = None
        self.search_value = 1
        self.search_values: Sequence[int] = (1,)

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; with the number of lists that FAISS recommends, about 4 sqrt(M)."""
        faiss = load_faiss()
        lists = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
        factory = self._factory.format(lists=lists)
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            drawn = np.random.default_rng(0).permutation(len(vectors))[: 64 * lists]
            index.train(np.ascontiguousarray(vectors[np.sort(drawn)]))
        for part in Parts(vectors):
            index.add(part)
        faiss.write_index(index, str(folder / "index"))

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        self._index = load_faiss().read_index(str(folder / "index"))
        self.search_values = values_up_to(4096) if self._graph or hasattr(self._index, "nprobe") else (1,)

    @property
    def _graph(self) -> bool:
        return layers_of(self._index)[-1] == EF_SEARCH

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        if self._graph:
            self._index.hnsw.efSearch = self.search_value
        elif len(self.search_values) > 1:
            self._index.nprobe = self.search_value
        positions: IntArray = self._index.search(queries, k)[1]
        return positions


class Hnswlib:
    """hnswlib, with the parameters of its README."""

    def __init__(self) -> None:
        self._index: Any = None
        self.search_value = 10
        self.search_values: Sequence[int] = [step for step in values_up_to(2048) if step >= 10]

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`."""
        import hnswlib

        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=200, M=16)
        index.add_items(np.asarray(vectors), np.arange(len(vectors)))
        index.save_index(str(folder / "index"))
        (folder / "width").write_text(str(vectors.shape[1]))

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=int((folder / "width").read_text()))
        self._index.load_index(str(folder / "index"))

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        self._index.set_ef(max(self.search_value, k))
        positions: IntArray = self._index.knn_query(queries, k=k)[0].astype(np.int64)
        return positions


class Usearch:
    """usearch with its defaults."""

    def __init__(self) -> None:
        self._index: Any = None
        self.search_value = 64
        self.search_values: Sequence[int] = [step for step in values_up_to(2048) if step >= 10]

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`."""
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip")
        index.add(np.arange(len(vectors)), np.asarray(vectors))
        index.save(str(folder / "index"))

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        from usearch.index import Index

        self._index = Index.restore(str(folder / "index"))

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        self._index.expansion_search = max(self.search_value, k)
        positions: IntArray = np.atleast_2d(self._index.search(queries, k).keys).astype(np.int64)
        return positions


class LanceDB:
    """LanceDB's IVF index with its defaults, which scores candidates again in full precision."""

    def __init__(self, refine_factor: int = 50) -> None:
        self._refine_factor = refine_factor
        self._table: Any = None
        self.search_value = 20
        self.search_values: Sequence[int] = [2**power for power in range(11)]

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; only here is writing the table part of the build."""
        import lancedb
        from lancedb.index import IvfPq

        width = vectors.shape[1]
        schema = pa.schema([pa.field("position", pa.int64()), pa.field("vector", pa.list_(pa.float32(), width))])
        table = lancedb.connect(folder).create_table("vectors", _record_batches(vectors, schema), schema=schema)
        table.create_index("vector", config=IvfPq(distance_type="dot"))

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        import lancedb

        self._table = lancedb.connect(folder).open_table("vectors")

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        return np.stack([self._one(query, k) for query in queries])

    def _one(self, query: FloatArray, k: int) -> IntArray:
        request = self._table.search(query).nprobes(self.search_value).refine_factor(self._refine_factor).limit(k)
        positions = request.select(["position", "_distance"]).to_arrow().column("position").to_numpy()
        return np.pad(positions, (0, k - len(positions)), constant_values=-1)


def _record_batches(vectors: FloatArray, schema: pa.Schema) -> Any:
    first = 0
    for part in Parts(vectors):
        positions = pa.array(np.arange(first, first + len(part)))
        values = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1])
        yield pa.record_batch([positions, values], schema=schema)
        first += len(part)


OTHERS: dict[str, Callable[[], Searcher]] = {
    "FAISS Flat": lambda: Faiss("Flat"),
    "FAISS IVF,Flat": lambda: Faiss("IVF{lists},Flat"),
    "FAISS HNSW32": lambda: Faiss("HNSW32"),
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "LanceDB IVF_PQ": LanceDB,
}
