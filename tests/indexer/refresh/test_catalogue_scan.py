"""The hashes of a catalogue tell what changed, its mistakes are named, and interactions are counted."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.refresh.catalogue_scan import CatalogueScan, InteractionCounts, with_hashes
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
    assert scan.rows["product_id"].equals(products["product_id"])
    again = pl.concat(scan.batches())
    assert again.select(scan.rows.columns).equals(scan.rows)
    assert again.schema == scan.schema | {TEXT_HASH: pl.Binary(), ROW_HASH: pl.UInt64()}
    assert again["price"].to_list() == [1.5] * 8


def many(file: Path, count: int = 450) -> pl.DataFrame:
    ids = [f"p{row}" for row in range(count)]
    frame = pl.DataFrame({"product_id": ids, "title": ids})
    frame.write_parquet(file)
    return frame


def test_a_file_larger_than_a_batch_is_read_whole_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    frame = many(file)
    scan = CatalogueScan.read(file, batch_rows=200)
    assert scan.rows["product_id"].equals(frame["product_id"])
    batches = list(scan.batches())
    assert len(batches) > 1
    assert pl.concat(batches).select(scan.rows.columns).equals(scan.rows)


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


def write_interactions(file: Path, rows: list[tuple[str, int, str, str | None]]) -> Path:
    schema = {"session_id": pl.String, "position": pl.Int64, "action": pl.String, "product_id": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame.with_columns(query=pl.when(pl.col("product_id").is_null()).then(pl.lit("red"))).write_parquet(file)
    return file


ROWS: list[tuple[str, int, str, str | None]] = [
    ("s1", 0, "view", "a"),
    ("s1", 1, "search", None),
    ("s1", 2, "view", "b"),
    ("s1", 3, "buy", "b"),
    ("s1", 4, "view", "a"),
    ("s2", 0, "view", "c"),
    ("s3", 0, "search", None),
]


@pytest.fixture
def counts(tmp_path: Path) -> InteractionCounts:
    return InteractionCounts.read(write_interactions(tmp_path / "interactions.parquet", ROWS))


def test_each_interaction_with_a_product_counts(counts: InteractionCounts) -> None:
    assert dict(counts.popularity.iter_rows()) == {"a": 2, "b": 2, "c": 1}
    assert counts.popularity.columns == ["product_id", "popularity"]


def test_pairs_follow_each_other_in_one_session_and_differ(counts: InteractionCounts) -> None:
    assert sorted(counts.pairs.iter_rows()) == [("a", "b"), ("b", "a")]


def test_the_order_of_the_file_does_not_matter(tmp_path: Path, counts: InteractionCounts) -> None:
    shuffled = InteractionCounts.read(write_interactions(tmp_path / "shuffled.parquet", ROWS[::-1]))
    assert sorted(shuffled.pairs.iter_rows()) == sorted(counts.pairs.iter_rows())
    assert dict(shuffled.popularity.iter_rows()) == dict(counts.popularity.iter_rows())


def test_what_was_taken_back_out_of_the_cart_counts_nowhere(tmp_path: Path) -> None:
    actions = [("view", "a"), ("add", "b"), ("remove", "b"), ("view", "c"), ("remove", "d"), ("view", "b")]
    rows = [("s", position, action, name) for position, (action, name) in enumerate(actions)]
    counts = InteractionCounts.read(write_interactions(tmp_path / "interactions.parquet", [*rows]))
    assert dict(counts.popularity.iter_rows()) == {"a": 1, "b": 1, "c": 1}
    assert sorted(counts.pairs.iter_rows()) == [("a", "c"), ("c", "b")]


def test_searches_alone_give_no_counts(tmp_path: Path) -> None:
    counts = InteractionCounts.read(write_interactions(tmp_path / "interactions.parquet", [("s", 0, "search", None)]))
    assert (counts.popularity.height, counts.pairs.height) == (0, 0)


def test_a_long_log_is_sampled_from_its_whole_length(tmp_path: Path) -> None:
    rows: list[tuple[str, int, str, str | None]] = [
        (f"s{row:03}", position, "view", f"{'ab'[position]}{row}") for row in range(300) for position in (0, 1)
    ]
    file = write_interactions(tmp_path / "interactions.parquet", rows)
    pairs = InteractionCounts.read(file, min_pairs=100).pairs
    assert pairs["product_id"].to_list() == [f"a{row}" for row in range(0, 300, 3)]
    assert InteractionCounts.read(file).pairs.height == 300


def test_missing_interactions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        InteractionCounts.read(tmp_path / "interactions.parquet")
