"""Where a path of a mapping leads in the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars.datatypes import DataTypeClass


@dataclass(frozen=True)
class Location:
    """A value in a row.

    Attributes:
        value: a column, or a field inside one.
        dtype: its type.
        inside: names that lead on into it, if it is JSON text.
    """

    value: pl.Expr
    dtype: pl.DataType
    inside: tuple[str, ...] = ()


def locate(path: str, columns: Mapping[str, pl.DataType]) -> Location | None:
    """Where `path` leads in a table of these columns, or None.

    A name with dots is found before a path of several names, so `event.type` is the column of that name if there is
    one, else the field `type` of the record (or JSON text) `event`.
    """
    return _among(tuple(path.split(".")), {name: (pl.col(name), dtype) for name, dtype in columns.items()})


def _among(names: tuple[str, ...], fields: Mapping[str, tuple[pl.Expr, pl.DataType]]) -> Location | None:
    for end in range(len(names), 0, -1):
        field = fields.get(".".join(names[:end]))
        found = _descend(*field, names[end:]) if field else None
        if found:
            return found
    return None


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
        if is_map(inner):
            entry = pl.element().struct.field("value").filter(pl.element().struct.field("key") == names[0])
            return _descend(entries.list.eval(entry).list.first(), _field(inner, "value"), names[1:])
    return None


def is_map(entry: pl.DataType) -> bool:
    """Whether a list of such entries is a map, as Parquet has them."""
    return isinstance(entry, pl.Struct) and [field.name for field in entry.fields] == ["key", "value"]


def instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    """The type itself where polars also takes its class."""
    return dtype() if isinstance(dtype, DataTypeClass) else dtype


def _field(record: pl.DataType, name: str) -> pl.DataType:
    assert isinstance(record, pl.Struct)
    return instance(next(field.dtype for field in record.fields if field.name == name))


def top_level(paths: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The columns that `paths` begin with, of those that a file has; the first name of a path that has none."""
    known = set(keys)
    found = (next((prefix for prefix in _prefixes(path) if prefix in known), path.split(".")[0]) for path in paths)
    return list(dict.fromkeys(found))


def _prefixes(path: str) -> list[str]:
    """The path itself first."""
    names = path.split(".")
    return [".".join(names[:end]) for end in range(len(names), 0, -1)]
