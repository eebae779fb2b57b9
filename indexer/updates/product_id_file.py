"""Ids of products in a file: a table with a column product_id, or text with one id a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import polars as pl

from ubm_embed.data.ids import clean_id, clean_ids
from ubm_embed.data.tables.columns import conform, require, require_columns
from ubm_embed.data.tables.csv_files import scan_csv
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.in_words import value_in_words
from ubm_embed.data.tables.json_files import open_text
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files
from ubm_embed.data.tables.table_kinds import kind_or_none
from ubm_embed.data.tables.text_stream import BrokenTextError
from ubm_embed.errors import InvalidData

_ID = "product_id"
_SCHEMA: dict[str, pl.DataType] = {_ID: pl.String()}
# A file with one of these suffixes is a table, whatever its first line says, unless it is empty.
_TABLES = (".csv", ".tsv", ".tab", ".psv")


def read_product_ids(source: Path, max_rows: int) -> list[str]:
    """The first ids in a file, or in all files of a folder, at most `max_rows` of them; an empty file has none.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, no such column, or a row without an id.
    """
    every = chain.from_iterable(_ids_in(file, max_rows) for file in table_files(source))
    return list(islice(every, max_rows))


def _ids_in(file: Path, max_rows: int) -> Iterable[str]:
    try:
        return list(islice(_listed(file), max_rows)) if _is_list(file) else _in_table(file, max_rows)
    except (UnicodeDecodeError, BrokenTextError):
        raise InvalidData("not UTF-8 text", file=file) from None


def _in_table(file: Path, max_rows: int) -> list[str]:
    # A table of one column is not recognised without a suffix, as on stdin.
    table = scan_table(file) if kind_or_none(file) else scan_csv(file, CsvFormat())
    (frame,) = collect_tables([table.head(max_rows)], [file])
    if frame.is_empty():
        require_columns(frame.columns, [_ID], _SCHEMA, file)
        return []
    rows = conform(frame, _SCHEMA, optional=set(), file=file).select(_ID)
    ids = clean_ids(pl.col(_ID))
    require(rows, ids.is_not_null(), file, _ID, "an id")
    return rows.select(ids).to_series().to_list()


def _is_list(file: Path) -> bool:
    if kind_or_none(file) not in (None, "CSV"):
        return False
    with open_text(file) as stream:
        header = stream.readline()
    if any(suffix.lower() in _TABLES for suffix in file.suffixes):
        return not header.strip()
    return _ID not in (name.strip().strip('"') for name in re.split(r"[,;\t|]", header))


def _listed(file: Path) -> Iterator[str]:
    with open_text(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            name = clean_id(line)
            if name is None:
                raise InvalidData(f"expected an id, got {value_in_words(line.strip())}", file=file, row=number)
            yield name
