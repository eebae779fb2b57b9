"""Excel workbooks (.xlsx), every cell as text."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from ubm_embed.data.tables.column_names import column_names
from ubm_embed.errors import InvalidData, NotFound

# A workbook is compressed XML that is unpacked in memory; a full sheet of a million rows has less than this.
_MAX_UNPACKED_BYTES = 4 << 30


def scan_excel(file: Path) -> pl.LazyFrame:
    """The rows of all sheets of a workbook, which must have the same columns; rows of empty cells are left out.

    All of it is read at once: a sheet has at most 1,048,576 rows.

    Raises:
        NotFound: fastexcel is not installed.
        InvalidData: no workbook, sheets with different columns, or a column name that occurs twice.
    """
    _require_bounded(file)
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
    return pl.concat(frames).lazy()


def _require_bounded(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as workbook:
            size = sum(part.file_size for part in workbook.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidData(f"not an Excel workbook: {error}", file=file) from None
    if size > _MAX_UNPACKED_BYTES:
        raise InvalidData(f"unpacks to {size >> 20:,} MB, more than {_MAX_UNPACKED_BYTES >> 20:,}", file=file)


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
