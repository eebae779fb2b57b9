"""Parquet files: columns of text come as text, however they are stored."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.errors import InvalidData

_MAGIC = b"PAR1"


def scan_parquet(file: Path) -> pl.LazyFrame:
    """The rows of a Parquet file; dictionaries, and bytes that are UTF-8, as text at any depth.

    Raises:
        InvalidData: not Parquet, or damaged; what is in the rows is seen only when the frame is collected.
    """
    try:
        frame = pl.scan_parquet(file, glob=False)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable_parquet(error, file) from None
    wanted = {name: _with_text(dtype) for name, dtype in schema.items()}
    return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in wanted.items() if dtype != schema[name])


def damaged(files: Iterable[Path], error: Exception) -> InvalidData:
    """The error for what polars could not read of one of these files; reads them to find out which it is."""
    files = list(files)
    for file in files:
        try:
            if (found := _no_text(file)) is not None:
                return found
            scan_parquet(file).select(pl.all().count()).collect(engine="streaming")
        except InvalidData as unreadable:
            return unreadable
        except (pl.exceptions.PolarsError, OSError) as unreadable:
            return unreadable_parquet(unreadable, file)
    return unreadable_parquet(error, files[0] if len(files) == 1 else None)


def _no_text(file: Path) -> InvalidData | None:
    """The error for the first row of a column of bytes that is no text."""
    frame = pl.scan_parquet(file, glob=False)
    for name, dtype in frame.collect_schema().items():
        done = 0
        for batch in frame.select(name).collect_batches(maintain_order=True) if dtype == pl.Binary else ():
            for row, value in enumerate(batch[name], start=done + 1):
                if value is not None and not _is_text(value):
                    return InvalidData("not UTF-8 text", file=file, row=row, field=name)
            done += batch.height
    return None


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def unreadable_parquet(error: Exception, file: Path | None) -> InvalidData:
    """The error for a file that polars cannot read."""
    if file is not None and (problem := _cut_or_other(file)):
        return InvalidData(problem, file=file)
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidData(f"not readable as Parquet: {reason}", file=file)


def _cut_or_other(file: Path) -> str | None:
    """What the two ends of a file say: Parquet begins and ends with the same four bytes."""
    with file.open("rb") as stream:
        begins = stream.read(4) == _MAGIC
        stream.seek(max(-4, -file.stat().st_size), os.SEEK_END)
        ends = stream.read(4) == _MAGIC
    if not begins:
        return "not Parquet, as its name says"
    return None if ends else "Parquet without its end; the file may be cut short"


def _with_text(dtype: pl.DataType | DataTypeClass) -> pl.DataType | DataTypeClass:
    if dtype in (pl.Categorical, pl.Enum, pl.Binary):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_with_text(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.List(_with_text(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _with_text(field.dtype) for field in dtype.fields})
    return dtype
