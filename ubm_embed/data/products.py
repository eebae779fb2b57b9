"""The products of a corpus: a catalogue's rows in one shape, whatever file they come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ubm_embed.data.session import Product
from ubm_embed.data.tables.attributes import ATTRIBUTES
from ubm_embed.data.tables.columns import as_numbers, casts, conform, number_types, require
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_batches, table_files, table_kind
from ubm_embed.errors import InvalidData

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
        InvalidData: not readable, a missing column, no rows, a missing or repeated id, a product without text.
    """
    frame = read_catalogue(file)
    _require_text(frame, file)
    return frame


def product_batches(file: str | Path, rows: int = 20_000) -> Iterator[pl.DataFrame]:
    """As `read_products`, about `rows` at a time, in memory that does not grow with the file.

    Repeated ids are not detected, which would take all of them. Columns have the same types in every batch.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, a missing id, a product without text.
    """
    types, done = _number_types(file), 0
    for batch in table_batches(file, rows):
        if batch.is_empty():
            continue
        try:
            products = _conform(batch, file).with_columns(casts(types))
            _require_text(products, file)
        except InvalidData as error:
            row = None if error.row is None else error.row + done
            raise InvalidData(error.problem, file=error.file, row=row, field=error.field) from None
        yield products
        done += batch.height
    if not done:
        raise InvalidData("no rows; expected at least one", file=file)


def _number_types(file: str | Path) -> dict[str, pl.DataType]:
    """The types of number columns; text files have none, and filters need prices as numbers."""
    if table_kind(table_files(file)[0]) == "Parquet":
        return {}
    frame = scan_table(file)
    return number_types(frame, [name for name in frame.collect_schema().names() if name not in PRODUCT_SCHEMA])


def read_catalogue(file: str | Path) -> pl.DataFrame:
    """As `read_products`, but a product may lack text.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, a missing or repeated id.
    """
    files = table_files(file)
    (frame,) = collect_tables([scan_table(file)], files)
    products = _conform(frame, file)
    require_ids_once(products, file)
    if table_kind(files[0]) == "Parquet":
        return products
    return as_numbers(products, products.columns[len(PRODUCT_SCHEMA) :])


def _conform(frame: pl.DataFrame, file: str | Path) -> pl.DataFrame:
    products = conform(frame, PRODUCT_SCHEMA, optional={"category", "attributes"}, file=file)
    require(products, pl.col("product_id").fill_null("") != "", file, "product_id", "an id")
    return products


def require_ids_once(products: pl.DataFrame, file: str | Path) -> None:
    """Raise `InvalidData` for the first row of `file` with the product_id of an earlier row."""
    require(products, pl.col("product_id").is_first_distinct(), file, "product_id", "a unique id")


def _require_text(products: pl.DataFrame, file: str | Path) -> None:
    text = "a title, a category or an attribute value: a product without text has no vector"
    require(products, has_text(), file, "title", text)


def has_text() -> pl.Expr:
    """Whether a row of products has any text for the model to read."""

    def filled(column: str) -> pl.Expr:
        return pl.col(column).fill_null("").str.strip_chars() != ""

    values = pl.col("attributes").list.eval(pl.element().struct.field("value").fill_null("").str.strip_chars() != "")
    return filled("title") | filled("category") | values.list.any().fill_null(False)


def iter_products(frame: pl.DataFrame) -> Iterator[Product]:
    """The rows of a products frame as `Product`s."""
    for row in frame.select(*PRODUCT_SCHEMA).iter_rows():
        product_id, title, category, attributes = row
        pairs = tuple((pair["name"] or "", pair["value"] or "") for pair in attributes or ())
        yield Product(title or "", category, pairs, product_id)
