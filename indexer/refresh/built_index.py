"""The index over a version of the table, built, saved and opened again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.index.index_request import IndexRequest
from indexer.index.kinds import DISK, IndexSpec
from indexer.index.lance_backend import LanceBackend
from indexer.index.recall import TuningQueries
from indexer.index.tuning import BenchmarkResult, choose_index
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.store.product_table import ProductTable
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import FloatArray, IntArray


@dataclass
class TableVectors:
    """All vectors of a version of the table, in batches, as often as they are iterated over.

    Attributes:
        table_version: the version; once LanceDB has an index over the vectors, a later one with the same rows.
    """

    table: ProductTable
    table_version: int

    def __iter__(self) -> Iterator[FloatArray]:
        return self.table.vector_batches(self.table_version)

    def at(self, positions: IntArray) -> FloatArray:
        """Those at these positions: [K] -> [K, D]."""
        return self.table.vectors(self.table_version, positions)

    def build_on_disk(self, spec: IndexSpec) -> VectorIndex:
        """LanceDB's own index over them; building it commits a version of the table."""
        self.table_version = self.table.create_index(self.table_version, spec.nlist)
        return VectorIndex(LanceBackend(self.table.snapshot(self.table_version), spec.nlist), spec)


def build_saved_index(
    vectors: TableVectors, request: IndexRequest, queries: TuningQueries, folder: Path
) -> BenchmarkResult:
    """Build the index and save it; its recall is measured after it is loaded again, as it will be served."""
    chosen = choose_index(request, vectors, queries)
    spec = chosen.index.spec
    if spec.kind is not DISK:
        chosen.index.save(folder / INDEX_FILE)
    index = open_index(vectors.table, vectors.table_version, spec, folder)
    if len(index) != queries.count:
        return replace(chosen, index=index, recall=0.0)  # the gate `indexed` gives the reason
    return replace(chosen, index=index, recall=queries.recall(index))
