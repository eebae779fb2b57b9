"""What is wrong with the values of mapped rows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ubm_embed.data.mappings.column import Column
from ubm_embed.data.mappings.mapped_rows import ROW, MappedRows
from ubm_embed.data.mappings.values import Values
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData

_USED = "\0used"
_FIRST_ROWS = 1000


def strict_values(columns: Mapping[str, Column], values: Mapping[str, Values]) -> dict[str, Values]:
    """The values in which a misfit is an error."""
    return {
        name: value
        for name, value in values.items()
        if columns[name].invalid == "error" and columns[name].value is None
    }


def require_fitting(
    rows: MappedRows, columns: Mapping[str, Column], values: Mapping[str, Values], used: pl.Expr
) -> None:
    """Raise for the first row with a misfit in `strict_values`.

    Args:
        columns: ours, by name, with the `values` of each.
        used: whether a row counts; values of others may be anything.

    Raises:
        InvalidData: names the row.
    """
    strict = strict_values(columns, values)
    if not strict:
        return
    # Marked first and counted then: within one aggregation polars would work out each mark several times.
    marks = [(value.misfit & pl.col(_USED)).alias(f"bad {number}") for number, value in enumerate(strict.values())]
    results: list[pl.Expr] = []
    for number in range(len(marks)):
        bad = pl.col(f"bad {number}")
        results += [pl.col(ROW).filter(bad).min().alias(f"row {number}"), bad.sum().alias(f"count {number}")]
    marked = rows.frame.with_columns(used.alias(_USED)).select(ROW, *marks)
    (found,) = collect_tables([marked.select(results)], [rows.file])
    for number, (name, value) in enumerate(strict.items()):
        if count := found[f"count {number}"].item():
            raise _misfit(rows, name, columns[name], value, used, found[f"row {number}"].item(), count)


def unseen_paths(rows: MappedRows) -> frozenset[str]:
    """The required paths that no row has. The first rows usually have all; only then is nothing else read."""
    absent = frozenset(path for path, location in rows.locations.items() if location is None)
    unseen = sorted(rows.unsure)
    for frame in (rows.frame.head(_FIRST_ROWS), rows.frame):
        locations = [rows.locations[path] for path in unseen]
        seen = [location.value.is_not_null().any().alias(str(n)) for n, location in enumerate(locations) if location]
        if seen:
            (found,) = collect_tables([frame.select(seen)], [rows.file])
            unseen = [path for path, is_seen in zip(unseen, found.row(0), strict=True) if not is_seen]
    return absent.union(unseen)


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
