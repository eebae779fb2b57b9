"""What an upsert makes of products: given values in place of the current ones.

Letters: K products.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from indexer.refresh.product_hashes import with_hashes
from indexer.store.table_schema import ROW_HASH, TEXT_HASH, VECTOR
from indexer.updates.current_products import BASE_TEXT_HASH, EXISTS
from indexer.updates.product_changes import ProductChanges
from ubm_embed.data.product_rows import has_text


@dataclass(frozen=True)
class MergedProducts:
    """Products as an upsert makes them, those left out that stay exactly as they are.

    Attributes:
        rows: the shop's columns, `TEXT_HASH`, `ROW_HASH`, and `VECTOR`, which is null if it is not known: [K].
        has_new_text: whether the text is another one than that of the version's own row: [K].
        kinds: as of `UpdateReport`.
    """

    rows: pl.DataFrame
    has_new_text: pl.Series
    kinds: pl.Series


def merge_products(changes: ProductChanges, current: pl.DataFrame) -> MergedProducts:
    """The products that changes make of the current ones.

    Args:
        current: as `CurrentProducts.find` returns them for the ids of the changes.

    Raises:
        InvalidData: a product would have no text; names file, row and field.
    """
    merged = with_hashes(_merged(changes, current))
    _require_text(changes, merged, current[EXISTS])
    exists, row_hash, text_hash = current[EXISTS], current[ROW_HASH], current[TEXT_HASH]
    same_text = exists & merged[TEXT_HASH].eq_missing(text_hash)
    same_row = exists & merged[ROW_HASH].eq_missing(row_hash)
    known = pl.when(same_text).then(current[VECTOR]).alias(VECTOR)
    rows = merged.with_columns(merged.select(known).to_series()).filter(~same_row)
    return MergedProducts(
        rows,
        has_new_text=merged[TEXT_HASH].ne_missing(current[BASE_TEXT_HASH]).filter(~same_row),
        kinds=pl.select(
            pl.when(~exists)
            .then(pl.lit("new"))
            .when(~same_text)
            .then(pl.lit("changed"))
            .when(~same_row)
            .then(pl.lit("updated"))
            .otherwise(pl.lit("unchanged"))
        ).to_series(),
    )


def _merged(changes: ProductChanges, current: pl.DataFrame) -> pl.DataFrame:
    """The products' columns: what is given, else what is there."""
    exists = current[EXISTS]
    columns = [changes.rows["product_id"]]
    for name in changes.given.columns:
        kept = ~changes.given[name] & exists
        columns.append(current[name].zip_with(kept, changes.rows[name]))
    return pl.DataFrame(columns).select(changes.rows.columns)


def _require_text(changes: ProductChanges, merged: pl.DataFrame, exists: pl.Series) -> None:
    row = merged.select((~has_text()).arg_true().first()).item()
    if row is None:
        return
    needed = "a title, a category or an attribute value"
    name = merged["product_id"][row]
    if exists[row]:
        raise changes.fault(f"expected {needed}: product {name!r} would be left without text", row, "title")
    raise changes.fault(f"expected {needed}: product {name!r} would be new", row, "title")
