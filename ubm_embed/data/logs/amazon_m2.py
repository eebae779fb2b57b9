"""Sessions of Amazon-M2 (KDD Cup 2023): a row each, the products as a list that numpy printed.

`prev_items` is `['B09W9FND7K' 'B09JSPLN1M']`, `next_item` the one after, where the file has it; see
https://www.aicrowd.com/challenges/amazon-kdd-cup-23-multilingual-recommendation-challenge
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.logs.event_table import PROBLEM, ROW, event_columns, text_at
from ubm_embed.data.tables.columns import require_columns
from ubm_embed.data.tables.table_files import scan_table

PRODUCTS_MAPPING = "amazon_m2_products"  # of the files of products beside the sessions
_COLUMNS: dict[str, pl.DataType] = {"prev_items": pl.String(), "next_item": pl.String(), "locale": pl.String()}
_LIST = r"^\s*\[[^\[\]]*\]\s*$"
_ID = r"[A-Za-z0-9]+"
# `explode` would drop a session with an empty list.
_ONE_MISSING = pl.lit([None], pl.List(pl.String))


def is_products(file: Path) -> bool:
    """Whether the file is one of products, as the data set names them."""
    return file.name.startswith("products_")


def amazon_m2_events(file: Path) -> pl.LazyFrame:
    """The views of one file, in `EVENT_SCHEMA`: a session is its row, a product `LOCALE-ID`, since texts go by locale.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, or a missing column.
    """
    log = scan_table(file, row=ROW)
    schema = log.collect_schema()
    require_columns([name for name in schema if name != ROW], ["prev_items", "locale"], _COLUMNS, file)
    previous = text_at(schema, "prev_items")
    is_list = previous.str.contains(_LIST).fill_null(False)
    items = pl.concat_list(previous.str.extract_all(_ID), text_at(schema, "next_item")).list.drop_nulls()
    listed = pl.when(is_list & (items.list.len() > 0)).then(items).otherwise(_ONE_MISSING)
    expected = "field prev_items: expected a list such as ['B09W9FND7K' 'B09JSPLN1M']"
    sessions = log.select(
        ROW,
        text_at(schema, "locale").alias("locale"),
        pl.when(~is_list).then(pl.lit(expected)).alias(PROBLEM),
        listed.alias("item"),
        pl.int_ranges(listed.list.len()).alias("position"),
    )
    views = sessions.explode("item", "position")
    return views.select(
        event_columns(
            session_id=pl.format("{}-{}", pl.lit(file.name), ROW),
            position=pl.col("position"),
            action=pl.lit("view"),
            product_id=pl.concat_str("locale", "item", separator="-"),
            row=pl.col(ROW),
            problem=pl.col(PROBLEM),
        )
    )
