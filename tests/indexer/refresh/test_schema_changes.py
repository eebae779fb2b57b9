"""A column that conditions may name must not vanish or become text unless it is meant; every difference is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from indexer.versions.live import live_number
from indexer.versions.version import manifest_name, read_version
from tests.indexer.refresh.shop import Shop
from ubm_embed.errors import QualityGateFailed


@pytest.fixture
def feed(shop: Shop) -> Shop:
    """A shop whose live version has a number, a boolean and a text."""
    products = shop.products.with_columns(in_stock=pl.Series([True, False] * 4), brand=pl.lit("ours"))
    shop.write(products)
    shop.refresh()
    shop.encoded.clear()
    return shop


def said(shop: Shop, **options: Any) -> list[str]:
    """What a refresh that changes no product's text tells."""
    notices: list[str] = []
    try:
        shop.refresh(notice=notices.append, **options)
    finally:
        assert shop.encoded == []
    return notices


BREAKING: list[tuple[list[pl.Expr], str]] = [
    ([pl.col("price").cast(pl.String)], "the column price was a number and is text"),
    ([pl.col("price") > 3], "the column price was a number and is a boolean"),
    ([pl.lit(None, pl.Float64).alias("price")], "the column price has no values any more"),
    ([pl.lit(None, pl.String).alias("category")], "the column category has no values any more"),
    ([pl.col("in_stock").cast(pl.String)], "the column in_stock was a boolean and is text"),
    ([pl.col("in_stock").cast(pl.Int64)], "the column in_stock was a boolean and is a number"),
]


@pytest.mark.parametrize(("change", "message"), BREAKING, ids=[message for _, message in BREAKING])
def test_a_change_that_breaks_conditions_is_refused_before_encoding(
    feed: Shop, change: list[pl.Expr], message: str
) -> None:
    feed.write(feed.products.with_columns(change))
    live = live_number(feed.opened)
    notices: list[str] = []
    with pytest.raises(QualityGateFailed, match=f"^gate 'schema': {message}; to publish anyway: --allow schema"):
        feed.refresh(notice=notices.append)
    assert notices == [], "the error says it"
    assert (feed.encoded, live_number(feed.opened)) == ([], live)
    report = feed.refresh(allow={Gate.SCHEMA})
    assert report.published is not None
    assert not report.published.gates["schema"]["passed"]
    assert feed.refresh().published is None


@pytest.mark.parametrize("name", ["price", "in_stock", "brand"])
def test_a_column_that_is_gone_is_refused(feed: Shop, name: str) -> None:
    feed.write(feed.products.drop(name))
    with pytest.raises(QualityGateFailed, match=f"gate 'schema': the column {name} is gone"):
        feed.refresh()
    assert said(feed, allow={Gate.SCHEMA}) == [f"the column {name} is gone"]


HARMLESS: list[tuple[list[pl.Expr], str]] = [
    ([pl.lit(1).alias("stock")], "the column stock (a number) is new"),
    ([pl.col("price").cast(pl.Int64)], "the column price was a number and is a whole number"),
    ([pl.lit(7).alias("brand")], "the column brand was text and is a number"),
    ([pl.col("price").cast(pl.Float32)], "the column price was Float64 and is Float32"),
    ([pl.lit("2026-01-01").str.to_date().alias("since")], "the column since (a date) is new"),
    (
        [pl.when(pl.col("product_id") > "p4").then("brand").alias("brand")],
        "the column brand is empty in 50% of the products, before in 0%",
    ),
]


@pytest.mark.parametrize(("change", "message"), HARMLESS, ids=[message for _, message in HARMLESS])
def test_another_change_is_said_and_passes(feed: Shop, change: list[pl.Expr], message: str) -> None:
    feed.write(feed.products.with_columns(change))
    assert said(feed) == [message]
    assert read_version(feed.opened).gates["schema"] == {"value": 0, "limit": 0, "passed": True}


def test_nothing_is_said_where_nothing_changed(feed: Shop) -> None:
    feed.set("p1", price=99.0)
    assert said(feed) == []


def test_a_column_that_never_had_values_may_go(feed: Shop) -> None:
    feed.write(feed.products.with_columns(note=pl.lit(None, pl.String)))
    feed.refresh()
    feed.write(feed.products.drop("note"))
    assert said(feed) == ["the column note is gone"]


def test_a_version_of_older_software_says_nothing_of_its_columns(feed: Shop) -> None:
    version = read_version(feed.opened)
    feed.opened.storage.write(manifest_name(version.version), version.replace(columns={}).to_bytes())
    feed.write(feed.products.with_columns(note=pl.lit(None, pl.String)).drop("price"))
    with pytest.raises(QualityGateFailed, match="gate 'schema': the column price is gone"):
        feed.refresh()


def test_a_value_that_turns_a_column_of_a_text_file_into_text_is_named(shop: Shop) -> None:
    file = shop.file.with_suffix(".csv")
    prices = pl.when(pl.col("product_id") == "p1").then(pl.col("price").cast(pl.String)).otherwise(pl.lit("call us"))
    shop.products.drop("attributes").with_columns(price=prices).write_csv(file)
    with pytest.raises(QualityGateFailed, match=r"price was a number and is text \(.*\.csv, row 2: 'call us'\)"):
        shop.refresh(products=file)


def test_a_build_over_a_live_version_compares_too(feed: Shop, model_folder: Path) -> None:
    feed.write(feed.products.drop("price").with_columns(stock=pl.lit(1)))
    notices: list[str] = []
    with pytest.raises(QualityGateFailed, match="the column price is gone"):
        build_index(model=model_folder, products=feed.file, store=feed.store, notice=notices.append)
    assert notices == ["the column stock (a number) is new"]


def test_a_dry_run_reports_the_gate(feed: Shop) -> None:
    feed.write(feed.products.drop("price"))
    notices: list[str] = []
    report = feed.refresh(dry_run=True, notice=notices.append)
    assert report.gates["schema"] == {"value": 1, "limit": 0, "passed": False}
    assert notices == ["the column price is gone"]


def test_the_manifest_says_what_the_columns_hold(feed: Shop) -> None:
    columns = read_version(feed.opened).columns
    assert (columns["price"].type, columns["in_stock"].type) == ("Float64", "Boolean")
    assert columns["category"].empty == feed.products["category"].null_count() / 8
    assert columns["brand"].empty == 0
