"""The hashes of a catalogue tell what changed, and its mistakes are named."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.product_hashes import with_hashes
from indexer.store.table_schema import ROW_HASH, TEXT_HASH
from ubm_embed.data.products import PRODUCT_SCHEMA
from ubm_embed.errors import InvalidData, NotFound

PRODUCT = {
    "product_id": "p",
    "title": "red shoes",
    "category": "shoes",
    "attributes": [{"name": "colour", "value": "red"}, {"name": "size", "value": "42"}],
    "price": 1.5,
    "tags": ["a", "b"],
}


def hashes(**changes: Any) -> tuple[bytes, int]:
    """Of the product with these columns changed."""
    further = {"price": pl.Float64(), "tags": pl.List(pl.String())}
    frame = with_hashes(pl.DataFrame([PRODUCT | changes], schema=PRODUCT_SCHEMA | further))
    return frame[TEXT_HASH][0], frame[ROW_HASH][0]


def pairs(*given: tuple[str | None, str | None]) -> list[dict[str, str | None]]:
    return [{"name": name, "value": value} for name, value in given]


def test_the_same_product_has_the_same_hashes_whatever_its_id() -> None:
    assert hashes() == hashes() == hashes(product_id="q")


TEXTS: list[dict[str, Any]] = [
    {"title": "Red shoes"},
    {"title": "red shoes "},
    {"title": None},
    {"category": "boots"},
    {"category": None},
    {"title": "shoes", "category": "red shoes"},
    {"title": "red shoesshoes", "category": None},
    {"title": None, "category": "red shoesshoes"},
    {"attributes": None},
    {"attributes": pairs(("colour", "red"))},
    {"attributes": pairs(("size", "42"), ("colour", "red"))},
    {"attributes": pairs(("colour", "blue"), ("size", "42"))},
    {"attributes": pairs(("shade", "red"), ("size", "42"))},
    {"attributes": pairs(("colourred", ""), ("size", "42"))},
    {"attributes": pairs(("colour", None), ("size", "42"))},
    {"attributes": pairs((None, "red"), ("size", "42"))},
    {"attributes": pairs(("colour", "redsize"), ("", "42"))},
    {"attributes": pairs(("colour", "red"), ("size", "42"), ("", ""))},
]


@pytest.mark.parametrize("changes", TEXTS)
def test_any_change_of_the_text_changes_both_hashes(changes: dict[str, Any]) -> None:
    for before, after in zip(hashes(), hashes(**changes), strict=True):
        assert before != after


def test_no_two_texts_share_a_hash() -> None:
    assert len({hashes(**changes)[0] for changes in ({}, *TEXTS)}) == len(TEXTS) + 1


@pytest.mark.parametrize("changes", [{"price": 2.0}, {"price": None}, {"tags": ["b", "a"]}, {"tags": None}])
def test_other_columns_change_the_row_hash_only(changes: dict[str, Any]) -> None:
    (text, row), (text_after, row_after) = hashes(), hashes(**changes)
    assert text == text_after
    assert row != row_after


def test_null_and_empty_are_the_same_text() -> None:
    assert hashes(category=None)[0] == hashes(category="")[0]
    assert hashes(attributes=None)[0] == hashes(attributes=[])[0]


def test_a_products_hashes_do_not_depend_on_other_products(products: pl.DataFrame) -> None:
    alone = pl.concat([with_hashes(products[row]) for row in range(products.height)])
    assert with_hashes(products).equals(alone)
    assert with_hashes(products.reverse()).equals(alone.reverse())


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_file_reads_the_same_twice(tmp_path: Path, products: pl.DataFrame, suffix: str) -> None:
    file = tmp_path / f"products.{suffix}"
    priced = products.with_columns(price=pl.Series([1.5] * 8))
    flat = priced.drop("attributes") if suffix == "csv" else priced
    {"parquet": flat.write_parquet, "csv": flat.write_csv, "jsonl": flat.write_ndjson}[suffix](file)
    scan = CatalogueScan.read(file)
    assert len(scan) == 8
    again = all_rows(scan)
    assert again["product_id"].equals(products["product_id"])
    assert again.schema == scan.schema | {TEXT_HASH: pl.Binary(), ROW_HASH: pl.UInt64()}
    assert again["price"].to_list() == [1.5] * 8


def all_rows(scan: CatalogueScan) -> pl.DataFrame:
    """Its products with both hashes, which are those of the products alone."""
    rows = pl.concat(rows for _, rows in scan.rows(np.ones(len(scan), bool)))
    assert with_hashes(rows.drop(TEXT_HASH, ROW_HASH)).equals(rows)
    return rows


def many(file: Path, count: int = 450) -> pl.DataFrame:
    ids = [f"p{row}" for row in range(count)]
    frame = pl.DataFrame({"product_id": ids, "title": ids})
    frame.write_parquet(file)
    return frame


def test_a_file_larger_than_a_batch_is_read_whole_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    frame = many(file)
    scan = CatalogueScan.read(file, batch_rows=200)
    assert all_rows(scan)["product_id"].equals(frame["product_id"])
    assert len(list(scan.rows(np.ones(len(scan), bool)))) > 1
    chosen = np.arange(len(scan)) % 7 == 0
    indices = np.concatenate([rows for rows, _ in scan.rows(chosen)])
    assert indices.tolist() == np.flatnonzero(chosen).tolist()
    assert pl.concat(rows for _, rows in scan.rows(chosen)).equals(all_rows(scan).filter(pl.Series(chosen)))


def test_a_repeated_id_is_named_with_its_row_however_far_apart(tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    frame = many(file)
    twice = pl.Series(["p17" if row == 432 else f"p{row}" for row in range(frame.height)])
    frame.with_columns(twice.alias("product_id")).write_parquet(file)
    with pytest.raises(InvalidData, match="a unique id, got 'p17'") as caught:
        CatalogueScan.read(file, batch_rows=200)
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, 433, "product_id")


def test_a_column_that_the_table_cannot_hold_is_named(tmp_path: Path, products: pl.DataFrame) -> None:
    file = tmp_path / "products.parquet"
    products.with_columns(text_hash=pl.lit("mine")).write_parquet(file)
    with pytest.raises(InvalidData, match="rename it") as caught:
        CatalogueScan.read(file)
    assert (caught.value.file, caught.value.field) == (file, "text_hash")


def test_a_missing_or_empty_file_is_refused(tmp_path: Path, products: pl.DataFrame) -> None:
    with pytest.raises(NotFound):
        CatalogueScan.read(tmp_path / "products.parquet")
    products.clear().write_parquet(tmp_path / "products.parquet")
    with pytest.raises(InvalidData, match="no rows"):
        CatalogueScan.read(tmp_path / "products.parquet")
