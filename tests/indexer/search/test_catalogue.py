"""Products stand at the position of their vector."""

from pathlib import Path

import polars as pl
import pytest

from indexer.search.catalogue import CatalogueInMemory, find_products, read_ids, write_ids
from ubm_embed.data.corpus import iter_products
from ubm_embed.errors import InvalidData

FILE = Path("ids.parquet")


@pytest.fixture
def frame(products: pl.DataFrame) -> pl.DataFrame:
    return products.with_columns(popularity=pl.Series([0, 5, 0, 7, 5, 0, 0, 1]), price=pl.lit(2.0))


def test_rows_follow_the_ids_of_the_index(frame: pl.DataFrame) -> None:
    ids = frame["product_id"].reverse()
    catalogue = CatalogueInMemory.from_frame(frame, ids, file=FILE)
    assert catalogue.frame.equals(frame.reverse())
    assert catalogue.find([*(f"p{row}" for row in range(10)), "p1"]) == {f"p{8 - row}": row for row in range(8)}
    assert len(catalogue) == 8


def test_products_are_found_by_their_ids_as_they_were_written(frame: pl.DataFrame) -> None:
    numbers = frame.with_columns(product_id=pl.Series(["17", "none", *(f"p{row}" for row in range(2, 8))]))
    catalogue = CatalogueInMemory(numbers)
    written = ["17", " 17.0 ", "p2\u00a0", "none", "undefined", "", "\ud83d", "p9"]
    # "none" is no id, but that of a product of an earlier version's store.
    assert find_products(catalogue, written) == {"17": 0, " 17.0 ": 0, "p2\u00a0": 2, "none": 1}


@pytest.mark.parametrize("ids", [["p1"], [f"p{row}" for row in range(8)], [f"p{row}" for row in range(1, 10)]])
def test_ids_of_other_products_are_refused(frame: pl.DataFrame, ids: list[str]) -> None:
    with pytest.raises(InvalidData, match=r"ids\.parquet: .* of which the table's 8 products have"):
        CatalogueInMemory.from_frame(frame, pl.Series("product_id", ids), file=FILE)


def test_products_are_read_in_full(frame: pl.DataFrame) -> None:
    expected = list(iter_products(frame))
    assert CatalogueInMemory(frame).products([5, 0, 5]) == {0: expected[0], 5: expected[5]}
    assert CatalogueInMemory(frame).products([]) == {}


def test_a_row_shows_what_a_match_shows(frame: pl.DataFrame) -> None:
    row = {"product_id": "p6", "title": "leather belt", "category": None, "price": 2.0}
    assert CatalogueInMemory(frame).rows([5]) == {5: row}


def test_popular_products_are_ordered_by_count_then_id(frame: pl.DataFrame) -> None:
    assert CatalogueInMemory(frame).popular.tolist() == [3, 1, 4, 7]


def test_without_counts_nothing_is_popular(frame: pl.DataFrame) -> None:
    assert CatalogueInMemory(frame.with_columns(popularity=pl.lit(0))).popular.tolist() == []


def test_written_ids_read_as_they_were(tmp_path: Path) -> None:
    ids = pl.Series("product_id", ["b", "a", "007"])
    for name in ("ids", "shop[1]*?", "50% grün"):  # pola-rs/polars#19801: a bracket is no pattern
        write_ids(tmp_path / name, ids)
        assert read_ids(tmp_path / name).equals(ids)


def test_damaged_ids_are_named(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    with pytest.raises(InvalidData, match="ids: missing or damaged"):
        read_ids(file)
    write_ids(file, pl.Series("product_id", ["a"]))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InvalidData, match="ids: missing or damaged"):
        read_ids(file)
