"""What can be searched for the nearest of a vector: our index, the libraries beside it, and FAISS without our wrapper.

Each is built with the library's own defaults where it has any, by inner product over vectors of length 1, and has one
number that trades time for recall, so that all can be compared at the same recall.

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
from indexer.index.index_request import AUTO, IndexRequest
from indexer.index.kinds import DISK, EF_SEARCH, IndexSpec, kind_from_name
from indexer.index.lance_backend import LanceBackend
from indexer.index.recall import TuningQueries
from indexer.index.tuning import build_kind, choose_index, search_values
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import table_schema
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import FloatArray, IntArray

_ROWS_AT_ONCE, _SHARD = 8192, 20_000
_FORM = "form.json"


class Searcher(Protocol):
    """One of them.

    Attributes:
        breadths: values of the number that trades time for recall, from the least to the most; one where there is none.
        breadth: the one that it searches with.
    """

    breadths: Sequence[int]
    breadth: int

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """Build it from [M, D] and write it to an empty folder."""

    def load(self, folder: Path) -> None:
        """Make what was built ready to search."""

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """Positions of the nearest, best first: [B, D] -> [B, K]."""


class Parts:
    """Vectors as an index is built from them: some at a time, as often as they are asked for."""

    def __init__(self, vectors: FloatArray, folder: Path | None = None) -> None:
        self._vectors = vectors
        self._table = ProductTable(LocalStorage(folder or Path()))

    def __iter__(self) -> Any:
        starts = range(0, len(self._vectors), _ROWS_AT_ONCE)
        return (np.asarray(self._vectors[first : first + _ROWS_AT_ONCE]) for first in starts)

    def build_on_disk(self, spec: IndexSpec) -> VectorIndex:
        """LanceDB's own index over them, with a table that holds nothing else."""
        product_ids = pl.DataFrame({"product_id": pl.int_range(len(self._vectors), eager=True).cast(pl.String)})
        schema = table_schema(product_ids, self._vectors.shape[1])
        shards = range(0, len(self._vectors), _SHARD)
        written = [
            fragment
            for first in shards
            for fragment in self._table.write_fragments(
                product_ids[first : first + _SHARD], np.asarray(self._vectors[first : first + _SHARD]), overwrite=True
            )
        ]
        version = self._table.create_indexes(self._table.replace(written, schema, model_id="none"), spec.nlist)
        return VectorIndex(LanceBackend(self._table.snapshot(version), spec.nlist), spec)


class Ours:
    """`VectorIndex`, of a kind or as `auto` chooses."""

    def __init__(self, asked: str, questions: TuningQueries | None = None) -> None:
        self._asked, self._questions = asked, questions
        self._built: VectorIndex | None = None
        self.breadths: Sequence[int] = (1,)

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; to choose is to build and tune all that comes into question."""
        index = self._made(Parts(vectors, folder))
        if index.spec.kind is not DISK:
            index.save(folder / INDEX_FILE)
        form = {"kind": index.kind, "parameters": index.spec.to_parameters()}
        (folder / _FORM).write_text(json.dumps(form))

    def _made(self, parts: Parts) -> VectorIndex:
        assert self._questions is not None, "only what is built asks them"
        if self._asked == AUTO:
            return choose_index(IndexRequest(), parts, self._questions).index
        return build_kind(kind_from_name(self._asked), parts, self._questions)

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        form, table = self.form(folder), ProductTable(LocalStorage(folder))
        self._built = open_index(table, table.latest() if form.kind is DISK else 0, form, folder)
        if form.kind.search_parameter and self._asked != AUTO:
            self.breadths = search_values(min(self._built.max_search_value, 4096))

    @staticmethod
    def form(folder: Path) -> IndexSpec:
        """What was built."""
        return IndexSpec.from_manifest(**json.loads((folder / _FORM).read_text()))

    @property
    def index(self) -> VectorIndex:
        """What was loaded."""
        assert self._built is not None
        return self._built

    @property
    def breadth(self) -> int:
        """As `Searcher`."""
        return self.index.spec.search_value

    @breadth.setter
    def breadth(self, breadth: int) -> None:
        if len(self.breadths) > 1:
            self._built = self.index.with_search_value(breadth)

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        return self.index.search(queries, k).positions


class Unwrapped:
    """The FAISS index inside one of ours, asked directly and as widely."""

    def __init__(self, index: VectorIndex, k: int) -> None:
        assert isinstance(index.backend, FaissBackend)
        self._index = index.backend._index
        # A graph is never searched for fewer than are wanted.
        breadth = (
            max(index.spec.search_value, k)
            if index.spec.kind.search_parameter == EF_SEARCH
            else index.spec.search_value
        )
        self._parameters = index.backend._make_parameters(k, breadth)
        self.breadths: Sequence[int] = (index.spec.search_value,)
        self.breadth = index.spec.search_value

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """It is built as ours."""

    def load(self, folder: Path) -> None:
        """It is in memory."""

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        found: IntArray = self._index.search(queries, k, params=self._parameters)[1]
        return found


# In the order of the table. What is ours is by the name that `--index` has.
OURS = ("auto", "flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw", "disk")
