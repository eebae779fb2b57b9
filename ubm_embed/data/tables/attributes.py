"""A product's attributes, in any of the forms that shops use, as one list of (name, value)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from ubm_embed.data.tables.in_words import type_in_words
from ubm_embed.errors import InvalidData

ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
EXPECTED_ATTRIBUTES = '{"name": "value"} or a list of {"name", "value"}'

_Pairs: TypeAlias = list[dict[str, str]]


def as_attributes(values: pl.Series, *, file: str | Path | None = None, strict: bool = True) -> pl.Series:
    """Attributes in the type `ATTRIBUTES`, without those that have no value.

    Args:
        values: `ATTRIBUTES` itself, lists of {key, value} (a Parquet map), structs, or JSON text of
            `{"colour": "red"}` or `[{"name": "colour", "value": "red"}]`; a value may be a list of values.
        file: named in errors.
        strict: whether JSON of any other form is an error, or null.

    Raises:
        InvalidData: names the row; a type that holds no attributes.
    """
    dtype = values.dtype
    if dtype == ATTRIBUTES or dtype == pl.Null:
        return values.cast(ATTRIBUTES)
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        return _from_pairs(values, dtype.inner, file)
    if isinstance(dtype, pl.Struct):
        return _from_text(values.struct.json_encode(), file, values.name, strict)
    if dtype == pl.String:
        return _from_text(values, file, values.name, strict)
    raise InvalidData(f"expected {EXPECTED_ATTRIBUTES}, found {type_in_words(dtype)}", file=file, field=values.name)


def _from_pairs(values: pl.Series, pair: pl.Struct, file: str | Path | None) -> pl.Series:
    fields = [field.name for field in pair.fields]
    name = "name" if "name" in fields else "key"
    if not {name, "value"} <= set(fields):
        raise InvalidData(
            f"expected {EXPECTED_ATTRIBUTES}, found a list of {', '.join(fields)}", file=file, field=values.name
        )
    element = pl.element().struct
    pairs = pl.struct(
        element.field(name).cast(pl.String).alias("name"), element.field("value").cast(pl.String).alias("value")
    )
    return values.list.eval(pairs.filter(element.field("value").is_not_null()))


def _from_text(texts: pl.Series, file: str | Path | None, field: str, strict: bool) -> pl.Series:
    distinct = texts.unique(maintain_order=True)
    parsed: list[_Pairs | None] = []
    for text in distinct:
        try:
            parsed.append(_parse(text))
        except ValueError:
            if strict:
                problem, row = f"expected {EXPECTED_ATTRIBUTES}, got {text!r}", texts.to_list().index(text) + 1
                raise InvalidData(problem, file=file, row=row, field=field) from None
            parsed.append(None)
    by_text = pl.DataFrame({"text": distinct, "pairs": pl.Series(parsed, dtype=ATTRIBUTES)})
    rows = texts.to_frame("text").join(by_text, on="text", how="left", nulls_equal=True, maintain_order="left")
    return rows["pairs"].alias(texts.name)


def _parse(text: str | None) -> _Pairs | None:
    """The pairs of a JSON text; raises ValueError for anything else."""
    document = json.loads(text) if text and text.strip() else None
    if document is None:
        return None
    if isinstance(document, dict):
        pairs = list(document.items())
    elif isinstance(document, list) and all(isinstance(pair, dict) and "name" in pair for pair in document):
        pairs = [(pair["name"], pair.get("value")) for pair in document]
    else:
        raise ValueError(EXPECTED_ATTRIBUTES)
    return [{"name": str(name), "value": _text(one)} for name, value in pairs for one in _each(value)]


def _each(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None]


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError(EXPECTED_ATTRIBUTES)
    return value if isinstance(value, str) else json.dumps(value)
