"""The values of a mapped column: joined, replaced, in their type, with what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import polars as pl

from ubm_embed.data.mappings.column import Column, ColumnType
from ubm_embed.data.mappings.json_text import joined_lists
from ubm_embed.data.mappings.paths import Location, instance
from ubm_embed.data.prices import parse_prices
from ubm_embed.data.tables.columns import as_text
from ubm_embed.data.tables.formats import TimeFormat
from ubm_embed.data.tables.timestamps import as_timestamp

_EXPECTED = {
    ColumnType.INTEGER: "a whole number",
    ColumnType.NUMBER: "a number",
    ColumnType.PRICE: "a price",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.TIME: "a time",
}
# How JSON of more than one value begins; a list of values is joined before, where that makes sense.
_RECORD = r"^(\[\s*)?\{\s*\""
_RECORD_OR_LIST = r"^(\[\s*)?\{\s*\"|^\[\s*(\"|-?[0-9.]+\s*[,\]])"
ALL_ATTRIBUTES = "attributes"  # the column of a catalogue that holds records
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "0", "f", "n"), False),
}


@dataclass(frozen=True)
class Values:
    """One of our columns.

    Attributes:
        text: as the file has it, null where it is empty.
        typed: in its type, null where it does not fit.
        type: that type; None is text that nobody declared.
    """

    text: pl.Expr
    typed: pl.Expr
    type: ColumnType | None

    @property
    def misfit(self) -> pl.Expr:
        """Whether there is a value that does not fit; never null."""
        return self.text.is_not_null() & self.typed.is_null()

    @property
    def expected(self) -> str:
        """What a value that fits is."""
        one_value = "one value (a path may lead into a record, and `each` names a list)"
        return one_value if self.type is None else _EXPECTED.get(self.type, one_value)


def column_values(
    name: str, column: Column, locations: Mapping[str, Location | None], time: TimeFormat, default: ColumnType | None
) -> Values:
    """The values of the column `name` of ours.

    Args:
        default: its type, if the mapping says none.
    """
    kind = column.type or default
    is_id = name.endswith("_id")
    separator = column.join if column.join is not None else " > " if name == "category" else "-" if is_id else " "
    text = _text(column, locations, separator, is_id=is_id)
    found = locations[column.path[0]] if len(column.path) == 1 else None
    if kind is ColumnType.TIME and found and not (column.values or column.remove) and found.dtype.is_temporal():
        return Values(text, as_timestamp(found.value, found.dtype, time), kind)
    if kind in (None, ColumnType.TEXT) and column.value is None and name != ALL_ATTRIBUTES:
        several = text.str.contains(_RECORD_OR_LIST if is_id else _RECORD)
        return Values(text, pl.when(~several).then(text), kind)
    return Values(text, typed(text, kind, time), kind)


def typed(text: pl.Expr, kind: ColumnType | None, time: TimeFormat) -> pl.Expr:
    """A text in a type, null where it does not fit."""
    match kind:
        case None | ColumnType.TEXT:
            return text
        case ColumnType.INTEGER:
            return text.str.replace(r"^([+-]?[0-9]+)\.0*$", "${1}").cast(pl.Int64, strict=False)
        case ColumnType.NUMBER:
            number = text.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number)
        case ColumnType.PRICE:
            return parse_prices(text)
        case ColumnType.BOOLEAN:
            return text.str.to_lowercase().replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
        case ColumnType.TIME:
            return as_timestamp(text, pl.String(), time)


def _text(column: Column, locations: Mapping[str, Location | None], separator: str, *, is_id: bool) -> pl.Expr:
    if column.value is not None:
        return pl.lit(column.value or None, pl.String)
    texts = [_replaced(text_of(locations[path], None if is_id else separator), column) for path in column.paths]
    if column.first:
        return pl.coalesce(texts)
    if len(texts) == 1:
        return texts[0]
    # Visit 3 of an unknown user is not the visit 3 of another one.
    joined = pl.concat_str(texts, separator=separator, ignore_nulls=not is_id)
    return pl.when(joined != "").then(joined)


def text_of(location: Location | None, separator: str | None) -> pl.Expr:
    """The values at a location as text; null where they are missing or empty.

    Args:
        separator: joins the entries of a list; None leaves it as JSON text.
    """
    if location is None:
        return pl.lit(None, pl.String)
    value, dtype = location.value, location.dtype
    if isinstance(dtype, pl.Struct):
        value = value.struct.json_encode()
    elif isinstance(dtype, pl.List | pl.Array):
        value = _list_text(
            value if isinstance(dtype, pl.List) else value.arr.to_list(), instance(dtype.inner), separator
        )
    elif dtype == pl.String:
        if separator is not None:
            join = partial(joined_lists, separator=separator)
            value = value.map_batches(join, return_dtype=pl.String, is_elementwise=True)
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        value = value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    else:
        value = as_text(value, dtype)
    stripped = value.str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def _list_text(entries: pl.Expr, inner: pl.DataType, separator: str | None) -> pl.Expr:
    if separator is not None and not inner.is_nested():
        return entries.list.eval(as_text(pl.element(), inner)).list.join(separator, ignore_nulls=True)
    # The only way to JSON is through a record: `{"":[…]}`.
    return pl.struct(entries.alias("")).struct.json_encode().str.slice(4).str.head(-1)


def _replaced(text: pl.Expr, column: Column) -> pl.Expr:
    if not (column.values or column.remove):
        return text
    new = text.str.replace_all(column.remove, "").str.strip_chars() if column.remove else text
    new = new.replace(column.values)
    return pl.when(new != "").then(new)
