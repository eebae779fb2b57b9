"""Columns cast to a schema and rows checked, with errors that name the file, the row and the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.attributes import ATTRIBUTES, as_attributes
from ubm_embed.data.tables.in_words import type_in_words, value_in_words
from ubm_embed.data.tables.table_files import locate_row
from ubm_embed.errors import InvalidData


def conform(
    frame: pl.DataFrame, schema: dict[str, pl.DataType], *, optional: set[str], file: str | Path
) -> pl.DataFrame:
    """`frame` with the columns of `schema` first, in its types; missing optional ones become null.

    Raises:
        InvalidData: no rows, a missing column, or a column of another type.
    """
    if frame.is_empty():
        raise InvalidData("no rows; expected at least one", file=file)
    columns = []
    for name, dtype in schema.items():
        if name in frame.columns:
            columns.append(_cast(frame[name], dtype, file))
        elif name in optional:
            columns.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height))
        else:
            require_columns(frame.columns, [name], schema, file)
    return frame.select(*columns, pl.exclude(*schema))


def require_columns(columns: list[str], needed: list[str], schema: dict[str, pl.DataType], file: str | Path) -> None:
    """Raise for the first of `needed` that is missing from `columns`."""
    for name in needed:
        if name not in columns:
            problem = f"missing column; expected {', '.join(schema)}; found {', '.join(columns)}"
            raise InvalidData(problem, file=file, field=name)


def require(
    frame: pl.DataFrame | pl.LazyFrame, condition: pl.Expr, file: str | Path, field: str, expected: str
) -> None:
    """Raise for the first row that fails `condition`, by its number in its file.

    Args:
        frame: the rows of what `scan_table` reads from `file`, in their order.
    """
    rows = frame.lazy().select(pl.col(field).alias("value"), condition.alias("ok")).with_row_index("row")
    failing = rows.filter(~pl.col("ok")).collect(engine="streaming")
    if not failing.is_empty():
        index, value, _ = failing.row(0)
        more = f" (and {failing.height - 1} more rows)" if failing.height > 1 else ""
        source, row = locate_row(file, index)
        raise InvalidData(f"expected {expected}, got {value_in_words(value)}{more}", file=source, row=row, field=field)


@dataclass(frozen=True)
class Requirement:
    """A condition that every row must meet.

    Attributes:
        field: the column to name if a row does not meet it.
        condition: null where it does not apply.
        expected: the condition in words.
    """

    field: str
    condition: pl.Expr
    expected: str


def require_all(frame: pl.DataFrame | pl.LazyFrame, requirements: Sequence[Requirement], file: str | Path) -> None:
    """As `require`, one requirement after another, but reads the frame only once if all are met."""
    met = [requirement.condition.all().alias(str(number)) for number, requirement in enumerate(requirements)]
    results = frame.lazy().select(met).collect(engine="streaming").row(0)
    for is_met, requirement in zip(results, requirements, strict=True):
        if not is_met:
            require(frame, requirement.condition, file, requirement.field, requirement.expected)


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """`value` as text, whole floats without `.0`: integer ids become floats when one of them is missing."""
    text = value.cast(pl.String)
    if not dtype.is_float():
        return text
    whole = value.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(dtype) == value).then(whole.cast(pl.String)).otherwise(text)


def _cast(column: pl.Series, dtype: pl.DataType, file: str | Path) -> pl.Series:
    if dtype == pl.String and column.dtype == pl.String:
        return column
    if dtype == ATTRIBUTES:
        return as_attributes(column, file=file)
    if dtype == pl.String and column.dtype.is_float():
        return column.to_frame().select(as_text(pl.col(column.name), column.dtype)).to_series()
    try:
        cast = column.cast(dtype, strict=False)
        kind_fits = not column.dtype.is_nested()
    except pl.exceptions.PolarsError:
        kind_fits = False
    if not kind_fits:
        raise InvalidData(
            f"expected {type_in_words(dtype)}, found {type_in_words(column.dtype)}", file=file, field=column.name
        )
    require(column.to_frame(), pl.lit(cast.is_not_null() | column.is_null()), file, column.name, type_in_words(dtype))
    return cast
