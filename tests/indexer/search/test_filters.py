"""Conditions in SQL, over any column, answered as polars would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.search.catalogue import Catalogue, CatalogueInMemory
from indexer.search.catalogue_on_disk import CatalogueOnDisk
from indexer.search.filters import Filters
from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import table_schema
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
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Catalogue:
    if request.param == "in memory":
        return CatalogueInMemory(FRAME)
    table, rows = ProductTable(LocalStorage(tmp_path)), FRAME.with_columns(popularity=pl.lit(0))
    fragments = table.write_fragments(rows, np.eye(6, dtype=np.float32), overwrite=True)
    version = table.replace(fragments, table_schema(rows, 6), model_id="m1")
    return CatalogueOnDisk(table.snapshot(version))


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
def test_a_condition_allows_the_products_that_satisfy_it(catalogue: Catalogue, where: str, expected: list[int]) -> None:
    assert np.flatnonzero(catalogue.allowed(where)).tolist() == expected


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("prize < 50", r"no column 'prize'; did you mean 'price'\?; there is: product_id, title, category"),
        ("colour = 'red'", "no column 'colour'; there is: product_id, title"),
        ("vector = 3", "no column 'vector'; there is: product_id, title"),
        ("price <", "expected a column or a value, found its end"),
        ("price BETWEEN 1", "expected AND, found its end"),
        ("price IS 3", "expected NULL, NOT NULL, TRUE or FALSE after IS, found '3'"),
        ("price", "neither true nor false: compare it with a value"),
        ("", "an empty one"),
        ("\"category\" = 'Shoes'", "double quotes"),
        ("price < 50 price > 3", "ends before 'price'"),
        ("price < 50 ORDER BY price", "ends before 'ORDER'"),
        ("price < 50 AS cheap", "ends before 'AS'"),
        ("price = 1_000", "ends before '_000'"),
        ("category = 'Shoes' 'Shirts'", "ends before \"'Shirts'\""),
        ("SELECT * FROM t WHERE price < 5", "write only what follows WHERE"),
        ("NOT", "a column or a value is missing beside NOT"),
        ("price < '8'", "'8' is text and stands beside a number; write numbers without quotes"),
        ("category IN (1, 2)", "1 is a number and stands beside text; texts stand in single quotes"),
        ("in_stock = 'yes'", "'yes' is text and stands beside a boolean; write the column alone, or NOT before it"),
        ("added > '2026-03-01'", "stands beside a date; write date '2026-01-31'"),
        ("added > date '2026-13-01'", "'2026-13-01' is not a date"),
        ("price LIKE '1%'", "LIKE compares text with text, not a number with text"),
        ("price = category", "'Shoes/Run' is not a number"),
        ("price + category > 3", r"calculates a number \+ text"),
        ("NOT category", "AND, OR and NOT stand between conditions"),
        ("count(*) > 1", "it is about one product: no count"),
        ("max(price) > 1", "it is about one product: no count"),
        ("(SELECT 1) = 1", "SELECT has no place in it"),
        ("price IN (SELECT 1)", "SELECT has no place in it"),
        ("[price] < 8", r"\[price\] is a list: write price for the column"),
        ("category.name = 'x'", "a point within a name"),
        ("cheap(price) > 3", "there is no function 'cheap'"),
        ("lower(price) = 'a'", "the function lower does not take a number"),
        ("CASE WHEN in_stock THEN true END", "is not supported"),
        ("length(title) / (length(title) - 8) > 3", "divides by zero for some product"),
        ("category = '\ud83d'", "half a character"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_condition(catalogue: Catalogue, where: str, problem: str) -> None:
    with pytest.raises(InvalidData, match=problem) as caught:
        catalogue.allowed(where)
    assert caught.value.field == "where"
    said = str(caught.value)
    assert not any(word in said for word in (".rs:", "Utf8", "Int64", "Float64", "user input", "LanceDB cannot"))


class TestCache:
    """How often the products are scanned, and how much memory the answers take."""

    COUNT = 2**18

    @pytest.fixture
    def scanned(self) -> list[str]:
        """The conditions that were scanned for, in order."""
        return []

    def filters(self, scanned: list[str], cache_bytes: int, count: int = COUNT) -> Filters:
        def scan(where: str) -> np.ndarray:
            scanned.append(where)
            return np.arange(3)

        return Filters(count, scan, cache_bytes=cache_bytes)

    def test_the_same_condition_is_scanned_for_once(self, scanned: list[str]) -> None:
        filters = self.filters(scanned, cache_bytes=2 * self.COUNT)
        assert filters.allowed("a") is filters.allowed("a")
        assert scanned == ["(a)"]

    def test_masks_take_bounded_bytes_and_the_least_recently_used_goes_first(self, scanned: list[str]) -> None:
        filters = self.filters(scanned, cache_bytes=2 * self.COUNT)
        for where in ("a", "b", "a", "c"):
            filters.allowed(where)
        assert filters._masks.currsize == 2 * self.COUNT
        filters.allowed("a")
        assert scanned == ["(a)", "(b)", "(c)"], "a was used after b"
        filters.allowed("b")
        assert scanned == ["(a)", "(b)", "(c)", "(b)"]

    def test_a_mask_larger_than_the_cache_is_still_kept_alone(self, scanned: list[str]) -> None:
        filters = self.filters(scanned, cache_bytes=0)
        for where in ("a", "a", "b"):
            filters.allowed(where)
        assert scanned == ["(a)", "(b)"]
        assert filters._masks.currsize == self.COUNT

    def test_a_small_catalogue_does_not_keep_any_number_of_conditions(self, scanned: list[str]) -> None:
        filters = self.filters(scanned, cache_bytes=2**20, count=8)
        for number in range(100):
            filters.allowed(f"price < {number}")
        assert len(filters._masks) == 2**20 // 2**16

    def test_a_refused_condition_is_not_kept(self) -> None:
        def refuse(where: str) -> np.ndarray:
            raise ValueError("No field named prize")

        filters = Filters(8, refuse)
        for _ in range(2):
            with pytest.raises(InvalidData, match="no column 'prize'"):
                filters.allowed("prize < 3")
