"""The tables of several files as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.in_words import type_in_words
from ubm_embed.errors import InvalidData


def joined_tables(frames: Sequence[pl.LazyFrame], files: Sequence[Path]) -> pl.LazyFrame:
    """The rows of all frames, with the columns of any of them; numbers become text where another file has text.

    Raises:
        InvalidData: the types of a column do not go together; names the column and both files.
    """
    if len(frames) == 1:
        return frames[0]
    known: dict[str, tuple[pl.DataType, Path]] = {}
    for frame, file in zip(frames, files, strict=True):
        for name, dtype in frame.collect_schema().items():
            before, first = known.setdefault(name, (dtype, file))
            common = _common(before, dtype)
            if common is None:
                raise InvalidData(
                    f"expected {type_in_words(before)} as in {first}, found {type_in_words(dtype)}",
                    file=file,
                    field=name,
                )
            known[name] = common, first
    return pl.concat(frames, how="diagonal_relaxed")


def _common(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type that holds values of both types as they are, or as text."""
    if one == other:
        return one
    kinds = {_kind(one), _kind(other)} - {"nothing"}
    if len(kinds) > 1 and not ("text" in kinds and "nested" not in kinds):
        return None
    try:
        empty = [pl.DataFrame(schema={"value": dtype}) for dtype in (one, other)]
        return pl.concat(empty, how="vertical_relaxed").schema["value"]
    except pl.exceptions.PolarsError:
        return None


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_nested():
        return "nested"
    if dtype.is_temporal():
        return "time"
    if dtype.is_numeric():
        return "number"
    return {pl.String: "text", pl.Null: "nothing"}.get(type(dtype), str(dtype))
