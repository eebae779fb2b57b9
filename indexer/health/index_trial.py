"""An index on disk put to the test: of its files nothing is known but what it answered when it was published."""

from __future__ import annotations

from indexer.index.recall import recall_at_k
from indexer.index.vector_index import VectorIndex
from indexer.refresh.exact_scan import exact_scan
from indexer.store.product_table import ProductTable
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import evenly
from ubm_embed.errors import InvalidData

_ASKED, _NEAREST = 50, 10
# Other products are asked than when it was tuned, and fewer.
_WORSE = 0.05


def require_searchable(table: ProductTable, version: StoreVersion, index: VectorIndex) -> None:
    """Ask LanceDB's indexes for some products, and what is near to them.

    Raises:
        InvalidData: they find less than when the version was published, or cannot be read.
    """
    opened, rows = table.snapshot(version.table_version), evenly(version.products, _ASKED)
    vectors = opened.vectors(rows)
    near = exact_scan(table.batches(version.table_version), vectors, _NEAREST + 1).nearest
    found = recall_at_k(lambda queries, k: index.search(queries, k).positions, vectors, near, opened.vectors, rows)
    if found < version.recall_at_10 - _WORSE:
        problem = f"LanceDB's index finds {found:.3f} of the ten nearest, once {version.recall_at_10:.3f}"
        raise InvalidData(problem, file=table.uri)
    names = opened.rows(rows, ["product_id"])["product_id"]
    if opened.find(names) != dict(zip(names, rows.tolist(), strict=True)):
        raise InvalidData("LanceDB's index of the ids does not find them", file=table.uri)
