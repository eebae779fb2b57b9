"""What is wrong with the values of mapped rows, found in one pass before they are used."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ubm_embed.data.mappings.column import Column
from ubm_embed.data.mappings.mapped_rows import ROW, MappedRows
from ubm_embed.data.mappings.values import Values
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData

_USED = "\0used"


def check_values(
    rows: MappedRows, columns: Mapping[str, Column], values: Mapping[str, Values], used: pl.Expr
) -> frozenset[str]:
    """The required paths that no row has.

    Args:
        columns: ours, by name, with the `values` of each.
        used: whether a row counts; values of others may be anything.

    Raises:
        InvalidData: a value that does not fit, in a column where that is an error; names the row of the first.
    """
    strict = [name for name in values if columns[name].invalid == "error" and columns[name].value is None]
    unsure = sorted(rows.unsure)
    absent = frozenset(path for path, location in rows.locations.items() if location is None)
    # Marked first and counted then: within one aggregation polars would work out each mark several times.
    marks = [(values[name].misfit & pl.col(_USED)).alias(f"bad {number}") for number, name in enumerate(strict)]
    results: list[pl.Expr] = []
    for number in range(len(strict)):
        bad = pl.col(f"bad {number}")
        results += [pl.col(ROW).filter(bad).min().alias(f"row {number}"), bad.sum().alias(f"count {number}")]
    for number, path in enumerate(unsure):
        location = rows.locations[path]
        assert location is not None
        marks.append(location.value.is_not_null().alias(f"has {number}"))
        results.append(pl.col(f"has {number}").any().alias(f"seen {number}"))
    if not results:
        return absent
    marked = rows.frame.with_columns(used.alias(_USED)).select(ROW, *marks)
    (found,) = collect_tables([marked.select(results)], [rows.file])
    row = found.row(0, named=True)
    for number, name in enumerate(strict):
        if row[f"count {number}"]:
            raise _misfit(rows, name, columns[name], values[name], used, row[f"row {number}"], row[f"count {number}"])
    return absent.union(path for number, path in enumerate(unsure) if not row[f"seen {number}"])


def count_misfits(
    rows: MappedRows, columns: Mapping[str, Column], values: Mapping[str, Values], used: pl.Expr
) -> dict[str, int]:
    """How many values become null because they do not fit, by column of ours."""
    counts = [
        (value.misfit & used).sum().alias(name) for name, value in values.items() if columns[name].invalid == "null"
    ]
    if not counts:
        return {}
    (found,) = collect_tables([rows.frame.select(counts)], [rows.file])
    return {name: count for name, count in found.row(0, named=True).items() if count}


def _misfit(
    rows: MappedRows, name: str, column: Column, values: Values, used: pl.Expr, row: int, count: int
) -> InvalidData:
    first = rows.frame.filter((pl.col(ROW) == row) & used & values.misfit).select(values.text).head(1)
    (frame,) = collect_tables([first], [rows.file])
    more = f" (and {count - 1:,} more)" if count > 1 else ""
    field = " ".join(column.paths) or name
    ours = "" if field == name else f" for {name}"
    problem = f"expected {values.expected}{ours}, got {frame.item()[:100]!r}{more}"
    return InvalidData(problem, file=rows.file, row=row, field=field)
