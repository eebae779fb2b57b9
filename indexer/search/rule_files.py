"""Files with rules about single products: which are excluded, and which are boosted. An empty file has no rules."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import polars as pl

from indexer.search.ranking import MAX_BOOST
from ubm_embed.data.ids import clean_ids
from ubm_embed.data.tables.columns import conform, require, require_columns
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files, table_kind
from ubm_embed.data.tables.text_stream import byte_chunks

# What a program writes that has no rules to write; a byte order mark and white space aside.
_EMPTY = (b"", b"[]")
_MAX_EMPTY_BYTES = 64


def read_excluded(file: str | Path) -> frozenset[str]:
    """The ids in a table's column product_id.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, no such column, or an id is missing.
    """
    return frozenset(_read(file, {"product_id": pl.String()})["product_id"])


def read_boosts(file: str | Path) -> dict[str, float]:
    """Boosts by product id, from a table's columns product_id and boost.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a column is missing, an id is missing or repeated, or a boost is not a
            number that `Rules` takes.
    """
    frame = _read(file, {"product_id": pl.String(), "boost": pl.Float64()})
    require(frame, pl.col("product_id").is_first_distinct(), file, "product_id", "an id that occurs once")
    is_boost = pl.col("boost").is_between(-MAX_BOOST, MAX_BOOST).fill_null(False)
    require(frame, is_boost, file, "boost", f"a number from {-MAX_BOOST:,.0f} to {MAX_BOOST:,.0f}")
    return dict(frame.iter_rows())


def _read(file: str | Path, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    files = table_files(file)
    if all(map(_is_empty, files)):
        return pl.DataFrame(schema=schema)
    (frame,) = collect_tables([scan_table(file)], files)
    if frame.is_empty():
        require_columns(frame.columns, list(schema), schema, file)
        return pl.DataFrame(schema=schema)
    rows = conform(frame, schema, optional=set(), file=file).select(*schema)
    ids = clean_ids(pl.col("product_id"))
    require(rows, ids.is_not_null(), file, "product_id", "an id")
    return rows.with_columns(ids)


def _is_empty(file: Path) -> bool:
    """Whether a file of text, which may be compressed, has nothing in it; an empty Parquet file is an error."""
    if file.stat().st_size > _MAX_EMPTY_BYTES or table_kind(file) == "Parquet":
        return False
    text = b"".join(islice(byte_chunks(file, _MAX_EMPTY_BYTES), 2))
    return text.removeprefix(b"\xef\xbb\xbf").strip() in _EMPTY
