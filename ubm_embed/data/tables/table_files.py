"""Tables on disk, read lazily: Parquet, CSV, JSON, JSON Lines, XML and Excel.

Parquet has types. In the text formats every column is read as text, and a nested JSON value as its JSON: only the
caller knows what a column means, and a guess would turn the id "007" into 7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.csv_files import scan_csv
from ubm_embed.data.tables.excel_files import scan_excel
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.found_files import find_files, table_files
from ubm_embed.data.tables.joined_tables import joined_tables
from ubm_embed.data.tables.json_table import scan_json
from ubm_embed.data.tables.parquet_files import damaged, scan_parquet
from ubm_embed.data.tables.table_kinds import EXPECTED, holds_elements, require_no_other, table_kind
from ubm_embed.data.tables.xml_files import scan_xml
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.outputs import refused_write

__all__ = ["collect_tables", "find_files", "locate_row", "scan_table", "table_files", "table_kind"]

_SCANS = {"Parquet": scan_parquet, "XML": scan_xml, "Excel": scan_excel}

# What polars raises for a file that cannot be read: an error in decompression is an OSError.
_READ_ERRORS = (pl.exceptions.PolarsError, OSError)


def scan_table(
    path: str | Path,
    *,
    schema: Mapping[str, pl.DataType] | None = None,
    csv: CsvFormat | None = None,
    row: str | None = None,
    problem: str | None = None,
    json_text: Collection[str] = (),
) -> pl.LazyFrame:
    """The rows of a file, or of the files of one kind in a folder and its folders by path.

    Rows of text files are read only when the frame is collected, and errors in them appear then.

    Args:
        path: its suffixes or its content decide the format; text may be compressed by gzip or Zstandard.
        schema: JSON only: the columns to read and their types, also nested ones. None reads all keys as text, and
            searches the file for them at once.
        csv: how CSV files are written; None is a header, separated by what it has, in UTF-8.
        row: adds a column of this name with the 1-based number of the row in its file: a record of CSV and Parquet,
            a line of JSON Lines, an element of a JSON array. It replaces a column of the file with this name.
        problem: JSON only: adds a text column of this name that says what is wrong with a row, or is null. Values that
            do not fit `schema` are null then; without `problem` they are an error.
        json_text: columns of `schema` whose lists and objects are read as their JSON text. Elsewhere a list is joined
            by ` > ` where text is declared, and an object does not fit.

    Raises:
        NotFound: no such path.
        InvalidData: a file of no known kind, an empty or unreadable one, malformed JSON, a folder without tables or
            with several kinds of them, or files whose columns do not go together.
    """
    files = table_files(path)
    frames = []
    for file in files:
        if file.stat().st_size == 0:
            raise InvalidData(f"empty; expected {EXPECTED}", file=file)
        kind = table_kind(file)
        if csv is None or csv.names is None:  # without a header the first value may be anything
            require_no_other(file, kind)
        if kind in ("JSON", "JSON Lines"):
            in_elements = kind == "JSON" and holds_elements(file)
            frame = scan_json(
                file, in_elements=in_elements, schema=schema, json_text=json_text, row=row, problem=problem
            )
        elif kind == "CSV":
            frame = _with_problem(scan_csv(file, csv or CsvFormat(), row), problem)
        else:
            frame = _with_problem(_with_row(_SCANS[kind](file), row), problem)
        frames.append(frame)
    return joined_tables(frames, files)


def _with_row(frame: pl.LazyFrame, row: str | None) -> pl.LazyFrame:
    if row is None:
        return frame
    numbered = frame.select(pl.exclude(row)).with_row_index(row, 1)
    return numbered.select(pl.exclude(row), pl.col(row).cast(pl.Int64))


def _with_problem(frame: pl.LazyFrame, problem: str | None) -> pl.LazyFrame:
    return frame if problem is None else frame.with_columns(pl.lit(None, pl.String).alias(problem))


def collect_tables(frames: Sequence[pl.LazyFrame], files: Iterable[Path]) -> list[pl.DataFrame]:
    """Collect frames that were scanned from `files` in one pass, streaming where polars can.

    Raises:
        InvalidData: one of the files cannot be read; names it, and of a text file the row.
        OSError: a frame writes, and the system refuses it.
    """
    try:
        return pl.collect_all(frames, engine="streaming")
    except _READ_ERRORS as error:
        raise refused_write(error) or _explained(error, files) from None


def locate_row(path: str | Path, index: int) -> tuple[str | Path, int]:
    """The file and the 1-based number in it of a row of what `scan_table` reads, by its 0-based index.

    Counts the rows of the files before it, for a message; where `path` cannot be read, the row is of `path` itself.
    """
    try:
        files = table_files(path)
        if len(files) == 1 and table_kind(files[0]) in ("CSV", "Parquet"):
            return path, index + 1
        before = 0
        for file in files:
            numbers = scan_table(file, schema={}, row="row").select("row").collect(engine="streaming")["row"]
            if index - before < numbers.len():
                return file, numbers[index - before]
            before += numbers.len()
    except (InvalidData, NotFound):
        pass
    return path, index + 1


def _explained(error: Exception, files: Iterable[Path]) -> InvalidData:
    """Our own readers explain themselves; what is left is an error of polars, most often in Parquet."""
    parquet = [file for file in files if table_kind(file) == "Parquet"]
    return damaged(parquet, error) if parquet else InvalidData(f"not readable: {str(error).splitlines()[0]}")
