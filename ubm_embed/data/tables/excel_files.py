"""Excel workbooks (.xlsx), every cell as text."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ubm_embed.data.tables.column_names import column_names
from ubm_embed.errors import InvalidData, NotFound

# A workbook is compressed XML that is unpacked in memory; a full sheet of a million rows has less than this.
_MAX_UNPACKED_BYTES = 4 << 30
_SETTINGS = "xl/workbook.xml"
_FROM_1904 = re.compile(rb'date1904="(?:1|true)"')
_TIME = r"^\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?$"
_FORMAT = "%Y-%m-%d %H:%M:%S"
_DAYS = (20_000, 80_000)  # from 1954 to 2119


def scan_excel(file: Path) -> pl.LazyFrame:
    """The rows of all sheets of a workbook, which must have the same columns; rows of empty cells are left out.

    In a column of times a number is a time as well.

    All of it is read at once: a sheet has at most 1,048,576 rows.

    Raises:
        NotFound: fastexcel is not installed.
        InvalidData: no workbook, sheets with different columns, or a column name that occurs twice.
    """
    first_day = _first_day(file)
    columns: tuple[str, ...] | None = None
    first, frames = "", []
    for name, sheet in _sheets(file):
        if sheet.is_empty():
            continue
        header = column_names(sheet.row(0), file)
        columns, first = columns or header, first or name
        if header != columns:
            problem = f"the sheets {first!r} and {name!r} have different columns; save the one to read as CSV"
            raise InvalidData(problem, file=file)
        rows = sheet[1:].rename(dict(zip(sheet.columns, columns, strict=True)))
        frames.append(rows.filter(pl.any_horizontal(pl.all().is_not_null())))
    if not frames:
        raise InvalidData("empty; expected a sheet with a header", file=file)
    table = pl.concat(frames)
    return table.with_columns(_with_all_times(table[name], first_day) for name in table.columns).lazy()


def _with_all_times(texts: pl.Series, first_day: datetime) -> pl.Series:
    """The values with times for numbers, if most are times: a cell that lost its format shows the days since then."""
    if 2 * int(texts.str.contains(_TIME).sum()) <= texts.len() - texts.null_count():
        return texts
    value = pl.col(texts.name)
    days = value.cast(pl.Float64, strict=False)
    moment = first_day + pl.duration(seconds=(days * 86_400).round().cast(pl.Int64, strict=False))
    is_day = days.is_between(*_DAYS).fill_null(False)
    written = pl.when(is_day).then(moment.dt.to_string(_FORMAT)).otherwise(value)
    return texts.to_frame().select(written.alias(texts.name)).to_series()


def _first_day(file: Path) -> datetime:
    """The day 0 of a workbook; raises for what is none, or unpacks to too much."""
    try:
        with zipfile.ZipFile(file) as workbook:
            size = sum(part.file_size for part in workbook.infolist())
            small = size <= _MAX_UNPACKED_BYTES and _SETTINGS in workbook.namelist()
            settings = workbook.read(_SETTINGS) if small else b""
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError) as error:
        raise InvalidData(f"not an Excel workbook: {error}", file=file) from None
    if size > _MAX_UNPACKED_BYTES:
        raise InvalidData(f"unpacks to {size >> 20:,} MB, more than {_MAX_UNPACKED_BYTES >> 20:,}", file=file)
    return datetime(1904, 1, 1) if _FROM_1904.search(settings) else datetime(1899, 12, 30)


def _sheets(file: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    fastexcel = _fastexcel()
    try:
        workbook = fastexcel.read_excel(file)
        for name in workbook.sheet_names:
            sheet = workbook.load_sheet(name, header_row=None, dtypes="string")
            yield name, pl.DataFrame(sheet) if sheet.width else pl.DataFrame()
    except fastexcel.FastExcelError as error:
        raise InvalidData(f"not readable as an Excel workbook: {error}".splitlines()[0], file=file) from None


def _fastexcel() -> Any:
    try:
        import fastexcel
    except ImportError as error:
        problem = f"fastexcel, which reads Excel workbooks, does not load ({error})"
        raise NotFound(f"{problem}; type: pip install 'ubm-embed[excel]'") from error
    return fastexcel
