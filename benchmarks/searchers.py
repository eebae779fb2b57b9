"""What can be searched for the nearest of a vector: our index, the libraries beside it, and FAISS without our wrapper.

Each is built with the library's own defaults where it has any, by inner product over vectors of length 1, and has one
number that trades time for recall, so that all can be compared at the same recall.

Letters: B queries, K nearest, M vectors, D width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.index import INDEX_FILE, VectorIndex
from indexer.indexes.choice import Questions, breadths, built, choose_index
from indexer.indexes.disk_engine import DiskEngine
from indexer.indexes.faiss_engine import FaissEngine
from indexer.indexes.faiss_index import layers_of
from indexer.indexes.kinds import DISK, EF_SEARCH, IndexForm, kind_of
from indexer.indexes.loading import load_faiss
from indexer.indexes.request import AUTO, IndexRequest
from indexer.places.folder import Folder
from indexer.table import ProductTable, table_schema
from indexer.versions.index_of import index_of
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
        self._table = ProductTable(Folder(folder or Path()))

    def __iter__(self) -> Any:
        starts = range(0, len(self._vectors), _ROWS_AT_ONCE)
        return (np.asarray(self._vectors[first : first + _ROWS_AT_ONCE]) for first in starts)

    def on_disk(self, form: IndexForm) -> VectorIndex:
        """LanceDB's own index over them, with a table that holds nothing else."""
        product_ids = pl.DataFrame({"product_id": pl.int_range(len(self._vectors), eager=True).cast(pl.String)})
        schema = table_schema(product_ids, self._vectors.shape[1])
        shards = range(0, len(self._vectors), _SHARD)
        written = [
            fragment
            for first in shards
            for fragment in self._table.write_fragments(
                product_ids[first : first + _SHARD], np.asarray(self._vectors[first : first + _SHARD]), anew=True
            )
        ]
        version = self._table.index_vectors(self._table.replace(written, schema, model_id="none"), form.lists)
        return VectorIndex(DiskEngine(self._table.at(version), form.lists), form)


class Ours:
    """`VectorIndex`, of a kind or as `auto` chooses."""

    def __init__(self, asked: str, questions: Questions) -> None:
        self._asked, self._questions = asked, questions
        self._built: VectorIndex | None = None
        self.breadths: Sequence[int] = (1,)

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; to choose is to build and tune all that comes into question."""
        index = self._made(Parts(vectors, folder))
        if index.form.kind is not DISK:
            index.save(folder / INDEX_FILE)
        form = {"kind": index.kind, "parameters": index.form.to_parameters()}
        (folder / _FORM).write_text(json.dumps(form))

    def _made(self, parts: Parts) -> VectorIndex:
        if self._asked == AUTO:
            return choose_index(IndexRequest(), parts, self._questions).index
        return built(kind_of(self._asked), parts, self._questions)

    def load(self, folder: Path) -> None:
        """As `Searcher`."""
        form, table = self.form(folder), ProductTable(Folder(folder))
        self._built = index_of(table, table.latest() if form.kind is DISK else 0, form, folder)
        if form.kind.breadth and self._asked != AUTO:
            self.breadths = breadths(min(self._built.widest, 4096))

    @staticmethod
    def form(folder: Path) -> IndexForm:
        """What was built."""
        return IndexForm.of_manifest(**json.loads((folder / _FORM).read_text()))

    @property
    def index(self) -> VectorIndex:
        """What was loaded."""
        assert self._built is not None
        return self._built

    @property
    def breadth(self) -> int:
        """As `Searcher`."""
        return self.index.form.breadth

    @breadth.setter
    def breadth(self, breadth: int) -> None:
        if len(self.breadths) > 1:
            self._built = self.index.searched(breadth)

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        return self.index.search(queries, k).positions


class Unwrapped:
    """The FAISS index inside one of ours, asked directly and as widely."""

    def __init__(self, index: VectorIndex, k: int) -> None:
        assert isinstance(index.engine, FaissEngine)
        self._index = index.engine._index
        # A graph is never searched for fewer than are wanted.
        breadth = max(index.form.breadth, k) if index.form.kind.breadth == EF_SEARCH else index.form.breadth
        self._parameters = index.engine._parameters(k, breadth, None)
        self.breadths: Sequence[int] = (index.form.breadth,)
        self.breadth = index.form.breadth

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """It is built as ours."""

    def load(self, folder: Path) -> None:
        """It is in memory."""

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        found: IntArray = self._index.search(queries, k, params=self._parameters)[1]
        return found


class Faiss:
    """FAISS by a factory string, and what it does by default but for the breadth."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._index: Any = None
        self.breadth = 1
        self.breadths: Sequence[int] = (1,)

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; FAISS itself says how many lists for so many vectors: about four times their root."""
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
        self.breadths = breadths(4096) if self._graph or hasattr(self._index, "nprobe") else (1,)

    @property
    def _graph(self) -> bool:
        return layers_of(self._index)[-1] == EF_SEARCH

    def search(self, queries: FloatArray, k: int) -> IntArray:
        """As `Searcher`."""
        if self._graph:
            self._index.hnsw.efSearch = self.breadth
        elif len(self.breadths) > 1:
            self._index.nprobe = self.breadth
        found: IntArray = self._index.search(queries, k)[1]
        return found


class Hnswlib:
    """hnswlib, with the parameters of its README."""

    def __init__(self) -> None:
        self._index: Any = None
        self.breadth = 10
        self.breadths: Sequence[int] = [step for step in breadths(2048) if step >= 10]

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
        self._index.set_ef(max(self.breadth, k))
        found: IntArray = self._index.knn_query(queries, k=k)[0].astype(np.int64)
        return found


class Usearch:
    """usearch with its defaults."""

    def __init__(self) -> None:
        self._index: Any = None
        self.breadth = 64
        self.breadths: Sequence[int] = [step for step in breadths(2048) if step >= 10]

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
        self._index.expansion_search = max(self.breadth, k)
        found: IntArray = np.atleast_2d(self._index.search(queries, k).keys).astype(np.int64)
        return found


class LanceDB:
    """LanceDB's own IVF index as it makes it by default, with candidates looked at again in full."""

    def __init__(self, refine_factor: int = 50) -> None:
        self._refine_factor = refine_factor
        self._table: Any = None
        self.breadth = 20
        self.breadths: Sequence[int] = [2**power for power in range(11)]

    def build(self, vectors: FloatArray, folder: Path) -> None:
        """As `Searcher`; writing the table is part of it, as it is of nobody else's."""
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
        asked = self._table.search(query).nprobes(self.breadth).refine_factor(self._refine_factor).limit(k)
        found = asked.select(["position", "_distance"]).to_arrow().column("position").to_numpy()
        return np.pad(found, (0, k - len(found)), constant_values=-1)


def _record_batches(vectors: FloatArray, schema: pa.Schema) -> Any:
    first = 0
    for part in Parts(vectors):
        positions = pa.array(np.arange(first, first + len(part)))
        values = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1])
        yield pa.record_batch([positions, values], schema=schema)
        first += len(part)


# In the order of the table. What is ours is by the name that `--index` has.
OURS = ("auto", "flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw", "disk")
OTHERS: dict[str, Callable[[], Searcher]] = {
    "FAISS Flat": lambda: Faiss("Flat"),
    "FAISS IVF,Flat": lambda: Faiss("IVF{lists},Flat"),
    "FAISS HNSW32": lambda: Faiss("HNSW32"),
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "LanceDB IVF_PQ": LanceDB,
}
