"""Conditions in SQL, over any column, answered as polars would."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import polars as pl
import pytest

from indexer.catalogue.condition import columns_named
from indexer.catalogue.filters import Filters
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.selection import Selection
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


@pytest.fixture(scope="module")
def catalogue() -> MappedCatalogue:
    return MappedCatalogue.from_table(FRAME.to_arrow())


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
def test_a_condition_allows_the_products_that_satisfy_it(
    catalogue: MappedCatalogue, where: str, expected: list[int]
) -> None:
    assert catalogue.where(where).positions.tolist() == expected


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("prize < 50", r"no column 'prize'; did you mean 'price'\?; there is: product_id, title, category"),
        ("colour = 'red'", "no column 'colour'; there is: product_id, title"),
        (f"{'x' * 9_000} = 1", r"no column 'x{100}\.\.\.'; there is: product_id"),
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
        ("[price] < 8", "price at character 2 stands in a list"),
        ("category.name = 'x'", "a point within a name"),
        ("cheap(price) > 3", "there is no function 'cheap'"),
        ("lower(price) = 'a'", "the function lower does not take a number"),
        ("CASE WHEN in_stock THEN true END", "is not supported"),
        ("length(title) / (length(title) - 8) > 3", "divides by zero for some product"),
        ("category = '\ud83d'", "half a character"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_condition(catalogue: MappedCatalogue, where: str, problem: str) -> None:
    with pytest.raises(InvalidData, match=problem) as caught:
        catalogue.where(where)
    assert caught.value.field == "where"
    said = str(caught.value)
    assert not any(word in said for word in (".rs:", "Utf8", "Int64", "Float64", "user input", "LanceDB cannot"))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("PRICE < 1 and `Price per m` > 3", ["Price per m", "price"]),
        ("lower(Brand) LIKE 'price%'", ["brand"]),
        ("sizes.width > 3 AND array_has(tags, 'price')", ["sizes", "tags"]),
        ("stock IS NOT NULL OR in = 1", ["stock"]),
        ("`größe` = 3 OR GRÖßE = 4", ["Größe"]),
        ("1 = 1", []),
    ],
)
def test_only_the_columns_of_a_condition_are_copied(where: str, expected: list[str]) -> None:
    columns = ["product_id", "Price per m", "price", "brand", "sizes", "tags", "stock", "Größe", "width"]
    assert sorted(columns_named(where, columns)) == sorted([*expected, *(["width"] if "width" in where else [])])


def test_columns_of_any_name_can_be_named() -> None:
    names = ["Price", "price per m", "Größe", "sizes", "select"]
    frame = pl.DataFrame({"product_id": ["a", "b"], **{name: [1, 2] for name in names[:3]}})
    frame = frame.with_columns(sizes=pl.struct(width=pl.col("Price")), select=pl.col("Price"))
    catalogue = MappedCatalogue.from_table(frame.to_arrow())
    for where in ("Price > 1", "`Price` > 1", "`price per m` > 1", "`Größe` > 1", "sizes.width > 1", "`select` > 1"):
        assert catalogue.where(where).positions.tolist() == [1], where
    assert catalogue.where("1 = 1").count == 2


class TestCache:
    """How often the products are scanned, who waits for it, and how much memory the answers take."""

    COUNT = 2**18
    # What a selection of three products is counted as, its condition among it.
    ENTRY = Selection.from_positions(np.arange(3), COUNT).nbytes + 2**12

    def filters(self, scanned: list[str], cache_bytes: int = 2**27) -> Filters:
        def scan(where: str) -> np.ndarray:
            scanned.append(where)
            return np.arange(3)

        return Filters(self.COUNT, scan, cache_bytes=cache_bytes)

    def test_the_same_condition_is_scanned_for_once(self) -> None:
        filters = self.filters(scanned := [])
        assert filters.where("a") is filters.where("a")
        assert scanned == ["(a)"]

    def test_selections_take_bounded_bytes_and_the_least_recently_used_goes_first(self) -> None:
        filters = self.filters(scanned := [], cache_bytes=2 * self.ENTRY)
        for where in ("a", "b", "a", "c"):
            filters.where(where)
        assert filters.nbytes == 2 * self.ENTRY
        filters.where("a")
        assert scanned == ["(a)", "(b)", "(c)"], "a was used after b"
        filters.where("b")
        assert scanned == ["(a)", "(b)", "(c)", "(b)"]

    def test_a_selection_larger_than_the_cache_is_still_kept_alone(self) -> None:
        filters = self.filters(scanned := [], cache_bytes=1)
        for where in ("a", "a", "b", "b", "a"):
            filters.where(where)
        assert scanned == ["(a)", "(b)", "(a)"]

    def test_a_refused_condition_is_not_kept(self) -> None:
        def refuse(where: str) -> np.ndarray:
            raise ValueError("No field named prize")

        filters = Filters(8, refuse)
        for _ in range(2):
            with pytest.raises(InvalidData, match="no column 'prize'"):
                filters.where("prize < 3")
        assert filters.nbytes == 0

    def test_a_condition_that_takes_too_long_is_refused(self) -> None:
        def scan(where: str) -> np.ndarray:
            raise TimeoutError

        with pytest.raises(InvalidData, match="'where': takes too long") as caught:
            Filters(8, scan).where("price < 3")
        assert caught.value.field == "where"

    def test_a_slow_condition_holds_up_nobody_but_those_who_ask_for_the_same(self) -> None:
        begun, may_end, scanned = Event(), Event(), list[str]()

        def scan(where: str) -> np.ndarray:
            scanned.append(where)
            if where == "(slow)":
                begun.set()
                assert may_end.wait(60)
            return np.arange(3)

        filters = Filters(8, scan)
        with ThreadPoolExecutor(2) as pool:
            slow = [pool.submit(filters.where, "slow")]
            assert begun.wait(60)
            assert filters.where("quick").count == 3
            slow.append(pool.submit(filters.where, "slow"))
            assert not any(one.done() for one in slow)
            may_end.set()
            assert slow[0].result() is slow[1].result()
        assert scanned == ["(slow)", "(quick)"]
