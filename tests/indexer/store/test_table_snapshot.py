"""Rows of one version by position, and searches with LanceDB's indexes, also after rows were removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import table_schema
from indexer.store.table_snapshot import TableSnapshot
from ubm_embed.errors import InvalidData

ROWS, WIDTH = 300, 8
# 1 - (1 - score) is rounded twice, and a score is a sum of D products.
ATOL = (WIDTH + 2) * float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    random = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def products() -> pl.DataFrame:
    ids = [f"it's {row}" for row in range(ROWS)]
    return pl.DataFrame({"product_id": ids, "price": np.arange(ROWS, dtype=np.float64)})


@pytest.fixture(scope="module")
def table(
    tmp_path_factory: pytest.TempPathFactory, products: pl.DataFrame, vectors: np.ndarray
) -> tuple[ProductTable, int]:
    """A table without its first 20 products, with an index; and its version."""
    table = ProductTable(LocalStorage(Path(tmp_path_factory.mktemp("table"))))
    fragments = table.write_fragments(products, vectors, overwrite=True)
    table.replace(fragments, table_schema(products, WIDTH), model_id="m1")
    without = table.remove(products["product_id"].head(20))
    return table, table.create_index(without, nlist=4)


@pytest.fixture
def snapshot(table: tuple[ProductTable, int]) -> TableSnapshot:
    return table[0].snapshot(table[1])


def test_it_describes_the_version(snapshot: TableSnapshot) -> None:
    assert (len(snapshot), snapshot.dimension, snapshot.nlist) == (ROWS - 20, WIDTH, 4)
    assert snapshot.schema.names == ["product_id", "price", "vector"]


def test_vectors_come_by_position_in_any_order_and_repeatedly(snapshot: TableSnapshot, vectors: np.ndarray) -> None:
    positions = np.array([7, 0, 7, 279])
    assert (snapshot.vectors(positions) == vectors[20:][positions]).all()
    assert snapshot.vectors(np.array([], np.int64)).shape == (0, WIDTH)


def test_all_rows_come_in_order_without_what_was_added_to_them(snapshot: TableSnapshot, products: pl.DataFrame) -> None:
    assert snapshot.row_schema.names == ["product_id", "price"]
    rows = pa.Table.from_batches(snapshot.row_batches(), snapshot.row_schema)
    assert rows.to_pydict() == products[20:].to_dict(as_series=False)


def test_a_search_of_all_lists_finds_the_nearest_with_exact_scores(
    snapshot: TableSnapshot, vectors: np.ndarray
) -> None:
    stored = vectors[20:]
    nearest = snapshot.nearest(stored[5], 10, nprobe=4, refine_factor=28)
    exact = stored @ stored[5]
    np.testing.assert_allclose(nearest.scores, exact[nearest.positions], rtol=0, atol=ATOL)
    np.testing.assert_allclose(nearest.scores, np.sort(exact)[::-1][:10], rtol=0, atol=ATOL)


def test_the_same_version_is_opened_once(table: tuple[ProductTable, int]) -> None:
    assert table[0].snapshot(table[1]) is table[0].snapshot(table[1])


def test_a_snapshot_of_a_removed_version_says_so(tmp_path: Path, products: pl.DataFrame, vectors: np.ndarray) -> None:
    table = ProductTable(LocalStorage(tmp_path))
    first = table.replace(
        table.write_fragments(products, vectors, overwrite=True), table_schema(products, WIDTH), model_id="m1"
    )
    snapshot = table.snapshot(first)
    table.replace(
        table.write_fragments(products, vectors, overwrite=True), table_schema(products, WIDTH), model_id="m1"
    )
    table.cleanup(unfinished=True)
    with pytest.raises(InvalidData, match="files of the version that was opened are gone"):
        snapshot.vectors(np.array([3]))
