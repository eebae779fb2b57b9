"""Where a path of a mapping leads in the columns of a table."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.data.mappings.json_text import KEYS


@dataclass(frozen=True)
class Location:
    """A value in a row.

    Attributes:
        value: a column, or a field inside one.
        dtype: its type.
        inside: names that lead on into it, if it is JSON text.
        decoded: whether it was found in JSON text.
    """

    value: pl.Expr
    dtype: pl.DataType
    inside: tuple[str, ...] = ()
    decoded: bool = False


def locate(path: str, columns: Mapping[str, pl.DataType]) -> Location | None:
    """Where `path` leads in a table of these columns, or None.

    A name with dots is found before a path of several names, so `event.type` is the column of that name if there is
    one, else the field `type` of the record (or JSON text) `event`. In a list a name is an index from 0, or the `key`
    or `name` of an entry whose `value` is meant.
    """
    fields = {name: (pl.col(name), dtype) for name, dtype in columns.items()}
    return _among(tuple(path.split(".")), fields)


def _among(names: tuple[str, ...], fields: Mapping[str, tuple[pl.Expr, pl.DataType]]) -> Location | None:
    for prefix, rest in _splits(names):
        field = fields.get(prefix)
        found = _descend(*field, rest) if field else None
        if found:
            return found
    return None


def _splits(names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names as one and those after it, the longest one first."""
    for end in range(len(names), 0, -1):
        yield ".".join(names[:end]), names[end:]


def _descend(value: pl.Expr, dtype: pl.DataType, names: tuple[str, ...]) -> Location | None:
    if not names or dtype == pl.String:
        return Location(value, dtype, names)
    if isinstance(dtype, pl.Struct):
        fields = {field.name: (value.struct.field(field.name), instance(field.dtype)) for field in dtype.fields}
        return _among(names, fields)
    if isinstance(dtype, pl.List | pl.Array):
        entries, inner = (value if isinstance(dtype, pl.List) else value.arr.to_list()), instance(dtype.inner)
        if names[0].isdecimal() and len(names[0]) < 10:
            return _descend(entries.list.get(int(names[0]), null_on_oob=True), inner, names[1:])
        for key in KEYS:
            if isinstance(inner, pl.Struct) and {key, "value"} <= {field.name for field in inner.fields}:
                entry = pl.element().struct.field("value").filter(pl.element().struct.field(key) == names[0])
                return _descend(entries.list.eval(entry).list.first(), _field(inner, "value"), names[1:])
    return None


def instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    """The type itself where polars also takes its class."""
    return dtype() if isinstance(dtype, DataTypeClass) else dtype


def _field(record: pl.Struct, name: str) -> pl.DataType:
    return instance(next(field.dtype for field in record.fields if field.name == name))


def first_column(path: str, keys: Container[str]) -> str:
    """The column that a path begins with, of the `keys` that a file has; the path's first name if it has none."""
    return next((prefix for prefix, _ in _splits(tuple(path.split("."))) if prefix in keys), path.split(".")[0])
