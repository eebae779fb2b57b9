"""A shop's file of products through a mapping."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from ubm_embed.data.mappings.checks import count_misfits, require_fitting, unseen_paths
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.mappings.conditions import drop_reason
from ubm_embed.data.mappings.held_paths import without_key
from ubm_embed.data.mappings.mapped_rows import ROW, UNREADABLE, MappedRows, map_rows, missing_column
from ubm_embed.data.mappings.mapping import ATTRIBUTE, LATEST, CatalogueMapping
from ubm_embed.data.mappings.paths import Location
from ubm_embed.data.mappings.values import Values, column_values, text_of
from ubm_embed.data.prices import is_plain_price
from ubm_embed.data.tables.attributes import ATTRIBUTES, as_attributes
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData

_TEXTS = ("product_id", "title", "category")
# No file has a column with this name.
_ORDER = "\0order"
_BEGINNING = datetime(1, 1, 1)


def mapped_catalogue(file: Path, part: CatalogueMapping, *, row: str | None = None) -> pl.LazyFrame:
    """The products of one file: product_id, title, category, attributes, then the further columns of the mapping.

    A further column has the type that the mapping declares; one without is as the file has it, text in text files.
    `product_id` is text as the file has it.

    Args:
        row: adds a column of this name with the 1-based row of each product in the file.

    Where the mapping has `latest`, a column `LATEST` is the time of each row; `CatalogueFile` keeps the latest by it.

    Raises:
        NotFound: no such file, or none beside it that is to be joined.
        InvalidData: not readable, a missing column, or a value that does not fit; names file, row and field.
    """
    rows = map_rows(file, part)
    values = _values(rows, part)
    kept = drop_reason(part.drop, rows.locations).is_null()
    require_fitting(rows, part.our_columns(), values, kept)
    unseen = unseen_paths(rows)
    if part.lacks(unseen) is not None and (lacking := part.lacks(without_key(rows, part, unseen))) is not None:
        raise missing_column(lacking, rows.columns, file, part)
    _require_readable(rows)
    return rows.frame.filter(kept).select(_columns(rows, part, values, row))


def lost_values(file: Path, part: CatalogueMapping) -> dict[str, int]:
    """How many values `mapped_catalogue` makes null because they do not fit, by column."""
    rows = map_rows(file, part)
    return count_misfits(
        rows, part.our_columns(), _values(rows, part), drop_reason(part.drop, rows.locations).is_null()
    )


def changed_prices(file: Path, part: CatalogueMapping) -> dict[str, tuple[int, tuple[str, float]]]:
    """How many prices are not written as numbers, and the first, as it is written and as it is read, by column."""
    rows = map_rows(file, part)
    columns = part.our_columns()
    read = {name: value for name, value in _values(rows, part).items() if columns[name].value is None}
    prices = {name: value for name, value in read.items() if value.type is ColumnType.PRICE}
    if not prices:
        return {}
    kept = drop_reason(part.drop, rows.locations).is_null()
    first = []
    for name, value in prices.items():
        both = pl.struct(text=value.text, price=value.typed)
        changed = both.filter(kept & value.typed.is_not_null() & ~is_plain_price(value.text))
        first.append(pl.struct(count=changed.len(), first=changed.first()).alias(name))
    (found,) = collect_tables([rows.frame.select(first)], [file])
    counts = found.row(0, named=True)
    return {name: (one["count"], tuple(one["first"].values())) for name, one in counts.items() if one["count"]}


def dropped_rows(file: Path, part: CatalogueMapping) -> dict[str, int]:
    """How many rows `mapped_catalogue` leaves out, by reason."""
    if not part.drop:
        return {}
    rows = map_rows(file, part)
    reasons = rows.frame.group_by(drop_reason(part.drop, rows.locations).alias("reason")).len()
    (counts,) = collect_tables([reasons.drop_nulls("reason").sort("len", descending=True)], [file])
    return dict(counts.iter_rows())


def _values(rows: MappedRows, part: CatalogueMapping) -> dict[str, Values]:
    return {
        name: column_values(name, column, rows.locations, part.time, None)
        for name, column in part.our_columns().items()
    }


def _require_readable(rows: MappedRows) -> None:
    if not rows.has_json:
        return
    bad = rows.frame.filter(pl.col(UNREADABLE).is_not_null()).select(ROW, UNREADABLE).head(1)
    (first,) = collect_tables([bad], [rows.file])
    if not first.is_empty():
        row, problem = first.row(0)
        raise InvalidData(problem, file=rows.file, row=row)


def _columns(rows: MappedRows, part: CatalogueMapping, values: dict[str, Values], row: str | None) -> list[pl.Expr]:
    columns = [
        *(_text(values, name).alias(name) for name in _TEXTS),
        _attributes(values).alias("attributes"),
        *(
            _further(name, rows, part, value).alias(name)
            for name, value in values.items()
            if name not in (*_TEXTS, "attributes") and not name.startswith(ATTRIBUTE)
        ),
    ]
    if part.keep_others:
        columns += _others(rows, part)
    return [*columns, pl.col(ROW).alias(row)] if row else columns


def _text(values: dict[str, Values], name: str) -> pl.Expr:
    return values[name].typed if name in values else pl.lit(None, pl.String)


def _further(name: str, rows: MappedRows, part: CatalogueMapping, value: Values) -> pl.Expr:
    """In its declared type, else the type of its own column if it is one."""
    column = part.our_columns()[name]
    plain = len(column.path) == 1 and not (column.values or column.remove) and column.join is None
    location = rows.locations[column.path[0]] if plain else None
    return location.value if value.type is None and location and location.dtype != pl.String else value.typed


def _others(rows: MappedRows, part: CatalogueMapping) -> list[pl.Expr]:
    """The columns that no path names and that would not hide one of ours."""
    ours = {*part.columns, *_TEXTS, "attributes"}
    used = {path for column in part.our_columns().values() for path in column.paths}
    schema = rows.frame.collect_schema()
    return [
        (text_of(Location(pl.col(name), pl.String()), " > ") if schema[name] == pl.String else pl.col(name)).alias(name)
        for name in rows.columns
        if name not in ours and name not in used
    ]


def _attributes(values: dict[str, Values]) -> pl.Expr:
    pairs = attribute_pairs(values)
    if "attributes" not in values:
        return pairs
    all_of_them = values["attributes"].text.map_batches(as_attributes, return_dtype=ATTRIBUTES, is_elementwise=True)
    return pl.concat_list(all_of_them.fill_null([]), pairs.fill_null([]))


def attribute_pairs(values: dict[str, Values]) -> pl.Expr:
    """The attributes among some columns as one value, without those that are null; null if all are."""
    pairs = [
        pl.struct(pl.lit(name.removeprefix(ATTRIBUTE)).alias("name"), value.text.alias("value"))
        for name, value in values.items()
        if name.startswith(ATTRIBUTE)
    ]
    if not pairs:
        return pl.lit(None, ATTRIBUTES)
    filled = pl.concat_list(pairs).list.eval(pl.element().filter(pl.element().struct.field("value").is_not_null()))
    return pl.when(filled.list.len() > 0).then(filled)


def only_latest(history: pl.LazyFrame) -> pl.LazyFrame:
    """Of the rows of a product the one with the latest time, of several the last; holds an id and a time for each."""
    # Numbered outside the window, since `int_range` inside `over` counts each product from 0.
    numbered = history.with_row_index(_ORDER)
    latest = pl.col(_ORDER).sort_by(pl.col(LATEST).fill_null(_BEGINNING), _ORDER).last().over("product_id")
    return numbered.filter((pl.col(_ORDER) == latest) | pl.col("product_id").is_null()).drop(LATEST, _ORDER)
