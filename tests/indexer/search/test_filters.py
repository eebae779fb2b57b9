"""Conditions in SQL, over any column, answered as polars would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.search.catalogue import CatalogueInMemory
from indexer.search.catalogue_on_disk import CatalogueOnDisk
from indexer.search.filters import Filters
from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable, table_schema
from ubm_embed.errors import InvalidData

FRAME = pl.DataFrame(
    {
        "product_id": [f"p{row}" for row in range(6)],
        "title": ["red shoe", "blue shoe", "it's red", None, "shirt", "bag"],
        "category": ["Shoes/Run", "Shoes", "Shirts", None, "Shirts", "Bags"],
        "price": [10.0, 60.0, 20.0, 5.0, None, 49.99],
        "in_stock": [True, True, False, True, True, None],
        "added": pl.Series(["2026-01-01"] * 3 + ["2026-06-01"] * 3).str.to_date(),
    }
)


@pytest.fixture(params=["in memory", "on disk"])
def filters(request: pytest.FixtureRequest, tmp_path: Path) -> Filters:
    if request.param == "in memory":
        return CatalogueInMemory(FRAME)._filters
    table, rows = ProductTable(LocalStorage(tmp_path)), FRAME.with_columns(popularity=pl.lit(0))
    fragments = table.write_fragments(rows, np.eye(6, dtype=np.float32), anew=True)
    version = table.replace(fragments, table_schema(rows, 6), model_id="m1")
    return CatalogueOnDisk(table.snapshot(version))._filters


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("price < 50", [0, 2, 3, 5]),
        ("price < 50 AND category LIKE 'Shoes%' AND in_stock", [0]),
        ("category IN ('Shirts', 'Bags') OR price > 50", [1, 2, 4, 5]),
        ("category IS NULL", [3]),
        ("title = 'it''s red'", [2]),
        ("added >= date '2026-03-01'", [3, 4, 5]),
        ("NOT in_stock", [2]),
        ("price < 0", []),
        ("product_id = 'p4'", [4]),
    ],
)
def test_a_condition_tells_which_products_may_match(filters: Filters, where: str, expected: list[int]) -> None:
    assert np.flatnonzero(filters.allowed(where)).tolist() == expected


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("prize < 50", "No field named prize. Did you mean 'price'"),
        ("price <", "found: EOF"),
        ("price", "does not return a boolean"),
        ("", "an empty one"),
    ],
)
def test_what_is_wrong_with_a_condition_is_said(filters: Filters, where: str, told: str) -> None:
    with pytest.raises(InvalidData, match=told) as caught:
        filters.allowed(where)
    assert caught.value.field == "where"
    assert ".rs:" not in str(caught.value)


def test_the_same_condition_is_asked_once(filters: Filters) -> None:
    first = filters.allowed("price < 50")
    assert filters.allowed("price < 50") is first
    for price in range(40):
        filters.allowed(f"price < {price}")
    again = filters.allowed("price < 50")
    assert again is not first
    assert (again == first).all()
