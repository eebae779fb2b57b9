"""The products of a corpus: a catalogue's rows in one shape, whatever file they come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ubm_embed.data.attributes import ATTRIBUTES
from ubm_embed.data.columns import as_numbers, conform, require
from ubm_embed.data.session import Product
from ubm_embed.data.tables import collect_tables, scan_table, table_files, table_kind

PRODUCT_SCHEMA: dict[str, pl.DataType] = {
    "product_id": pl.String(),
    "title": pl.String(),
    "category": pl.String(),
    "attributes": ATTRIBUTES,
}


def read_products(file: str | Path) -> pl.DataFrame:
    """Products of any file that `scan_table` reads, with `PRODUCT_SCHEMA`'s columns first and in its types.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, an id missing or given twice, a product without text.
    """
    frame = read_catalogue(file)
    text = "a title, a category or an attribute value: a product without text has no vector"
    require(frame, has_text(), file, "title", text)
    return frame


def read_catalogue(file: str | Path) -> pl.DataFrame:
    """As `read_products`, but a product may lack text.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, an id missing or given twice.
    """
    files = table_files(file)
    (frame,) = collect_tables([scan_table(file)], files)
    products = conform(frame, PRODUCT_SCHEMA, optional={"category", "attributes"}, file=file)
    require(products, pl.col("product_id").fill_null("") != "", file, "product_id", "an id")
    require(products, pl.col("product_id").is_first_distinct(), file, "product_id", "an id given once")
    if table_kind(files[0]) == "Parquet":
        return products
    # Text files have no types; a price must be a number to be filtered by.
    return as_numbers(products, products.columns[len(PRODUCT_SCHEMA) :])


def has_text() -> pl.Expr:
    """Whether a row of products has anything for the model to read."""

    def filled(column: str) -> pl.Expr:
        return pl.col(column).fill_null("").str.strip_chars() != ""

    values = pl.col("attributes").list.eval(pl.element().struct.field("value").fill_null("").str.strip_chars() != "")
    return filled("title") | filled("category") | values.list.any().fill_null(False)


def products_of(frame: pl.DataFrame) -> Iterator[Product]:
    """The rows of a products frame as `Product`s."""
    for row in frame.select(*PRODUCT_SCHEMA).iter_rows():
        product_id, title, category, attributes = row
        pairs = tuple((pair["name"] or "", pair["value"] or "") for pair in attributes or ())
        yield Product(title or "", category, pairs, product_id)
