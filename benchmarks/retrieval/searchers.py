"""Our index, and FAISS without our wrapper, behind one interface for all libraries that are compared.

Each library is built with its own defaults where it has any, for inner products of unit vectors, and has one search
parameter that trades time for recall (nprobe, efSearch, ...), so that all can be compared at equal recall.

Letters: B queries, K nearest, M vectors, D width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import layers_of
from indexer.index.index_request import AUTO, IndexRequest
from indexer.index.kinds import DISK, EF_SEARCH, IndexSpec, kind_from_name
from indexer.index.lance_backend import LanceBackend
from indexer.index.recall import TuningQueries
from indexer.index.search_parameters import search_parameters
from indexer.index.tuning import build_kind, choose_index
from indexer.index.tuning import search_values as values_up_to
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import table_schema
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import FloatArray, IntArray

_ROWS_AT_ONCE, _SHARD = 8192, 20_000
_SPEC = "spec.json"


class Searcher(Protocol):
    """An index of some library.

    Attributes:
        search_values: values to try of its search parameter, ascending; a single one if it has none.
        search_value: the value that it searches with.
    """

    search_values: Sequence[int]
    search_value: int

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """Build the index over vectors [M, D] and write it to an empty folder."""

    def load(self, folder: Path) -> None:
        """Load what `build` has written."""

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """Positions of the nearest vectors, best first: [B, D] -> [B, K]."""


class Parts:
    """A source of vectors for building an index, in parts that can be iterated again and again."""

    def __init__(self, vectors: FloatArray, folder: Path | None = None) -> None:
        self._vectors = vectors
        self._table = ProductTable(LocalStorage(folder or Path()))

    def __iter__(self) -> Any:
        starts = range(0, len(self._vectors), _ROWS_AT_ONCE)
        return (np.asarray(self._vectors[first : first + _ROWS_AT_ONCE]) for first in starts)

    def build_on_disk(self, spec: IndexSpec) -> VectorIndex:
        """LanceDB's own index over these vectors, with a table that has no other columns."""
        product_ids = pl.DataFrame({"product_id": pl.int_range(len(self._vectors), eager=True).cast(pl.String)})
        schema = table_schema(product_ids, self._vectors.shape[1])
        shards = range(0, len(self._vectors), _SHARD)
        fragments = [
            fragment
            for first in shards
            for fragment in self._table.write_fragments(
                product_ids[first : first + _SHARD], np.asarray(self._vectors[first : first + _SHARD]), overwrite=True
            )
        ]
        version = self._table.create_index(self._table.replace(fragments, schema, model_id="none"), spec.nlist)
        return VectorIndex(LanceBackend(self._table.snapshot(version), spec.nlist), spec)


class Ours:
    """`VectorIndex`, of one kind or as `auto` chooses.

    Args:
        queries: for tuning; needed by `build`.
    """

    def __init__(self, name: str, queries: TuningQueries | None = None) -> None:
        self._name, self._queries = name, queries
        self._index: VectorIndex | None = None
        self.search_values: Sequence[int] = (1,)

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; `auto` builds and tunes all candidate kinds."""
        index = self._build(Parts(vectors, folder))
        if index.spec.kind is not DISK:
            index.save(folder / INDEX_FILE)
        spec = {"kind": index.kind, "parameters": index.spec.to_parameters()}
        (folder / _SPEC).write_text(json.dumps(spec))

    def _build(self, parts: Parts) -> VectorIndex:
        assert self._queries is not None, "an index is built with queries to tune it"
        if self._name == AUTO:
            return choose_index(IndexRequest(), parts, self._queries).index
        return build_kind(kind_from_name(self._name), parts, self._queries)

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        spec, table = self.spec(folder), ProductTable(LocalStorage(folder))
        self._index = open_index(table, table.latest() if spec.kind is DISK else 0, spec, folder)
        if spec.kind.search_parameter and self._name != AUTO:
            self.search_values = values_up_to(min(self._index.max_search_value, 4096))

    @staticmethod
    def spec(folder: Path) -> IndexSpec:
        """The spec of the index in a folder."""
        return IndexSpec.from_manifest(**json.loads((folder / _SPEC).read_text()))

    @property
    def index(self) -> VectorIndex:
        """The loaded index."""
        assert self._index is not None, "load comes first"
        return self._index

    @property
    def search_value(self) -> int:
        """As `Searcher`."""
        return self.index.spec.search_value

    @search_value.setter
    def search_value(self, search_value: int) -> None:
        if len(self.search_values) > 1:
            self._index = self.index.with_search_value(search_value)

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        return self.index.search(queries, k).positions


class Unwrapped:
    """The FAISS index inside one of ours, searched directly with the same search value."""

    def __init__(self, index: VectorIndex, k: int) -> None:
        assert isinstance(index.backend, FaissBackend)
        self._index = index.backend._index
        # A graph needs efSearch of at least k.
        search_value = (
            max(index.spec.search_value, k)
            if index.spec.kind.search_parameter == EF_SEARCH
            else index.spec.search_value
        )
        layers = layers_of(self._index)
        self._parameters = search_parameters(layers, search_value, index.spec.kind.refine_factor)
        self.search_values: Sequence[int] = (index.spec.search_value,)
        self.search_value = index.spec.search_value

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """Nothing to do: it is built as ours."""

    def load(self, folder: Path) -> None:
        """Nothing to do: it is in memory."""

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        positions: IntArray = self._index.search(queries, k, params=self._parameters)[1]
        return positions


# In the order of the table, by the names of `--index`.
OURS = ("auto", "flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw", "disk")
