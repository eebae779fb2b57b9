"""Tables on disk, read lazily: Parquet, CSV, JSON and JSON Lines, the last three also gzipped.

Parquet has types. In the text formats every column is read as text, and a nested JSON value as its JSON: only the
caller knows what a column means, and a guess would turn the id "007" into 7.
"""

from __future__ import annotations

import errno
import glob
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.json_files import keys_of_lines, lines_of_array, starts_with_array
from ubm_embed.errors import InvalidData, NotFound

_KINDS = {".parquet": "Parquet", ".csv": "CSV", ".json": "JSON", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines"}
_EXPECTED = ".parquet, .csv, .json, .jsonl or .ndjson, the text formats also with .gz"

# What polars raises for a file that cannot be read: an error in decompression is an OSError.
_READ_ERRORS = (pl.exceptions.PolarsError, OSError)

# Errors of writing alone: a full disk, a full quota, a limit on the size of files.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def scan_table(
    path: str | Path,
    *,
    schema: Mapping[str, pl.DataType] | None = None,
    csv: CsvFormat | None = None,
    row: str | None = None,
    problem: str | None = None,
) -> pl.LazyFrame:
    """The rows of a file, or of the files of one kind in a folder by name.

    Args:
        path: its suffixes decide the format; a `.json` file may also hold one object a line.
        schema: JSON only: the columns to read and their types, also nested ones. The file is then not checked in
            advance; errors appear when the frame is collected (see `collect_tables`).
        csv: how CSV files are written; None is a header, separated by what it has, in UTF-8.
        row: adds a column of this name with the 1-based number of the row in its file: a record of CSV and Parquet,
            a line of JSON Lines, an element of a JSON array.
        problem: JSON only: adds a text column of this name that says what is wrong with a row, or is null. Values that
            do not fit `schema` are null then; without `problem` they are an error.

    Raises:
        NotFound: no such path.
        InvalidData: an unknown suffix, an empty or unreadable file, malformed JSON (with its line and column), a folder
            without tables or with several kinds of them.
    """
    frames = [_with_marks(_scan_file(file, schema), row, problem) for file in table_files(path)]
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def _with_marks(frame: pl.LazyFrame, row: str | None, problem: str | None) -> pl.LazyFrame:
    if row:
        frame = frame.with_row_index(row, 1).with_columns(pl.col(row).cast(pl.Int64))
    return frame.with_columns(pl.lit(None, pl.String).alias(problem)) if problem else frame


def table_files(path: str | Path) -> list[Path]:
    """The files that `path` stands for: itself, or those in the folder, by name.

    Raises:
        NotFound: no such path.
        InvalidData: a folder without tables or with several kinds of them.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(f"no such file: {path}")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and _kind(file) and not file.name.startswith("."))
    kinds = sorted({str(_kind(file)) for file in files})
    if len(kinds) != 1:
        raise InvalidData(f"expected files of one kind ({_EXPECTED}); found {' and '.join(kinds) or 'none'}", file=path)
    return files


def table_kind(file: Path) -> str:
    """`Parquet`, `CSV`, `JSON` or `JSON Lines`, by the suffixes.

    Raises:
        InvalidData: another suffix.
    """
    kind = _kind(file)
    if kind is None:
        raise InvalidData(f"unknown suffix {''.join(file.suffixes)!r}; expected {_EXPECTED}", file=file)
    return kind


def collect_tables(frames: Sequence[pl.LazyFrame], files: Iterable[Path]) -> list[pl.DataFrame]:
    """Collect frames that were scanned from `files` in one pass, streaming where polars can.

    Raises:
        InvalidData: one of the files cannot be read; names the line of malformed JSON.
        OSError: a frame writes, and the system refuses it.
    """
    try:
        return pl.collect_all(frames, engine="streaming")
    except _READ_ERRORS as error:
        raise refused_write(error) or _explained(error, list(files)) from None


def refused_write(error: Exception) -> OSError | None:
    """The OSError behind an error of polars, if the system refused to write; polars reports it in its text alone."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    number = int(match[1]) if match else None
    return OSError(number, os.strerror(number)) if number in _REFUSED else None


def table_batches(path: str | Path, rows: int) -> Iterator[pl.DataFrame]:
    """The rows of what `scan_table` reads, in order, about `rows` of them at a time.

    Raises:
        NotFound: no such path.
        InvalidData: as `scan_table` and `collect_tables`.
    """
    frame, files = scan_table(path), table_files(path)
    try:
        yield from frame.collect_batches(chunk_size=rows, maintain_order=True)
    except _READ_ERRORS as error:
        raise _explained(error, files) from None


def _explained(error: Exception, files: list[Path]) -> InvalidData:
    for file in files:
        if table_kind(file) != "JSON Lines" and (table_kind(file) != "JSON" or starts_with_array(file)):
            continue
        try:
            keys_of_lines(file)
        except InvalidData as explained:
            return explained
    return _unreadable(error, files[0] if len(files) == 1 else None)


def _kind(file: Path) -> str | None:
    name = file.name.lower()
    kind = _KINDS.get(Path(name.removesuffix(".gz")).suffix)
    return None if kind == "Parquet" and name.endswith(".gz") else kind


def _scan_file(file: Path, schema: Mapping[str, pl.DataType] | None) -> pl.LazyFrame:
    kind = table_kind(file)
    if file.stat().st_size == 0:
        raise InvalidData(f"empty; expected {kind}", file=file)
    try:
        frame = _scan(file, kind, schema)
        frame.collect_schema()
    except _READ_ERRORS as error:
        raise _unreadable(error, file, kind) from None
    return frame


def _scan(file: Path, kind: str, schema: Mapping[str, pl.DataType] | None) -> pl.LazyFrame:
    if kind == "Parquet":
        return pl.scan_parquet(file, glob=False)
    if kind == "CSV":
        return pl.scan_csv(file, infer_schema=False, glob=False)
    if kind == "JSON" and starts_with_array(file):
        keys, lines = lines_of_array(file)
        columns = _columns(keys, schema, file)
        return pl.read_ndjson(io.BytesIO(lines), schema=columns).lazy() if lines else pl.LazyFrame(schema=columns)
    # scan_ndjson has no `glob=False`: a `[` in a folder's name would be a pattern.
    return pl.scan_ndjson(glob.escape(str(file)), schema=_columns([] if schema else keys_of_lines(file), schema, file))


def _columns(keys: list[str], schema: Mapping[str, pl.DataType] | None, file: Path) -> Mapping[str, pl.DataType]:
    columns = schema or {key: pl.String() for key in keys}
    if not columns:
        raise InvalidData("no rows; expected at least one", file=file)
    return columns


def _unreadable(error: Exception, file: Path | None, kind: str = "") -> InvalidData:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidData(f"not readable{' as ' + kind if kind else ''}: {reason}", file=file)
