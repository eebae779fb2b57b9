"""A check of an index on disk by searching it: a manifest has no digests of LanceDB's own files."""

from __future__ import annotations

from indexer.index.recall import recall_at_k
from indexer.index.vector_index import VectorIndex
from indexer.refresh.exact_scan import exact_scan
from indexer.store.product_table import ProductTable
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.errors import InvalidData

_QUERIES, _K = 50, 10
# The published recall was measured with more queries, and others.
_MAX_LOSS = 0.05


def require_searchable(table: ProductTable, version: StoreVersion, index: VectorIndex) -> None:
    """Search the index for some products' neighbours.

    Raises:
        InvalidData: it finds less than when the version was published, or cannot be read.
    """
    snapshot, rows = table.snapshot(version.table_version), evenly_spaced(version.products, _QUERIES)
    queries = snapshot.vectors(rows)
    # One more than K, as each query is itself a product.
    exact = exact_scan(table.vector_batches(version.table_version), queries, _K + 1).nearest
    recall = recall_at_k(lambda vectors, k: index.search(vectors, k).positions, queries, exact, snapshot.vectors, rows)
    if recall < version.recall_at_10 - _MAX_LOSS:
        problem = f"LanceDB's index has a recall@10 of {recall:.3f}, published with {version.recall_at_10:.3f}"
        raise InvalidData(problem, file=table.uri)
