"""Files with rules about single products: which are excluded, and which are boosted."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.tables.columns import conform, require
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files


def read_excluded(file: str | Path) -> frozenset[str]:
    """The ids in a table's column product_id.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, no such column, no rows, or an id is missing.
    """
    return frozenset(_read(file, {"product_id": pl.String()})["product_id"])


def read_boosts(file: str | Path) -> dict[str, float]:
    """Boosts by product id, from a table's columns product_id and boost.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a column is missing, no rows, an id is missing or repeated, or a boost is no number.
    """
    frame = _read(file, {"product_id": pl.String(), "boost": pl.Float64()})
    require(frame, pl.col("product_id").is_first_distinct(), file, "product_id", "an id that occurs once")
    require(frame, pl.col("boost").is_finite().fill_null(False), file, "boost", "a number")
    return dict(frame.iter_rows())


def _read(file: str | Path, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    (frame,) = collect_tables([scan_table(file)], table_files(file))
    rows = conform(frame, schema, optional=set(), file=file).select(*schema)
    require(rows, pl.col("product_id").fill_null("") != "", file, "product_id", "an id")
    return rows
