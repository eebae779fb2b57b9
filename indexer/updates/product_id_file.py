"""Ids of products in a file: a table with a column product_id, or text with one id a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ubm_embed.data.ids import clean_id, clean_ids
from ubm_embed.data.tables.columns import conform, require
from ubm_embed.data.tables.csv_files import scan_csv
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.in_words import value_in_words
from ubm_embed.data.tables.json_files import open_text
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files
from ubm_embed.data.tables.table_kinds import kind_or_none
from ubm_embed.errors import InvalidData

_ID = "product_id"
# A file with one of these suffixes is a table, whatever its first line says.
_TABLES = (".csv", ".tsv", ".tab", ".psv")


def read_product_ids(file: Path, max_rows: int) -> list[str]:
    """The first ids in a file, at most `max_rows` of them, in its order.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, no such column, or a row without an id.
    """
    (path,) = table_files(file)
    if _is_list(path):
        return [name for _, name in zip(range(max_rows), _listed(path), strict=False)]
    # A table of one column is not recognised without a suffix, as on stdin.
    table = scan_table(path) if kind_or_none(path) else scan_csv(path, CsvFormat())
    (frame,) = collect_tables([table.head(max_rows)], [path])
    rows = conform(frame, {_ID: pl.String()}, optional=set(), file=path).select(_ID)
    ids = clean_ids(pl.col(_ID))
    require(rows, ids.is_not_null(), path, _ID, "an id")
    return rows.select(ids).to_series().to_list()


def _is_list(file: Path) -> bool:
    if kind_or_none(file) not in (None, "CSV") or any(suffix.lower() in _TABLES for suffix in file.suffixes):
        return False
    with open_text(file) as stream:
        header = re.split(r"[,;\t|]", stream.readline())
    return _ID not in (name.strip().strip('"') for name in header)


def _listed(file: Path) -> Iterator[str]:
    with open_text(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            name = clean_id(line)
            if name is None:
                raise InvalidData(f"expected an id, got {value_in_words(line.strip())}", file=file, row=number)
            yield name
