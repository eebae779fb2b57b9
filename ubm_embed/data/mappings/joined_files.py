"""Small files beside the one that is read, joined to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ubm_embed.data.ids import clean_ids
from ubm_embed.data.mappings.column import Join
from ubm_embed.data.tables.columns import as_text
from ubm_embed.data.tables.table_files import collect_tables, scan_table
from ubm_embed.errors import InvalidData, NotFound

_MAX_BYTES = 1 << 30  # it is held in memory
_KEY = "\0key"


def join_files(frame: pl.LazyFrame, joins: Sequence[Join], file: Path) -> pl.LazyFrame:
    """`frame`, of `file`, with the columns of the joined files that it does not have itself.

    Raises:
        NotFound: no such file beside `file`.
        InvalidData: a file that is too large, a key that is missing, or that two of its rows have.
    """
    for join in joins:
        other = _read(join, file.parent / join.file)
        schema = frame.collect_schema()
        if join.on not in schema:
            raise InvalidData(f"missing column; expected the key of {join.file}", file=file, field=join.on)
        new = other.drop([name for name in schema.names() if name in other.columns])
        key = clean_ids(as_text(pl.col(join.on), schema[join.on])).alias(_KEY)
        frame = frame.with_columns(key).join(new.lazy(), on=_KEY, how="left", maintain_order="left").drop(_KEY)
    return frame


def _read(join: Join, file: Path) -> pl.DataFrame:
    """The rows with a key, and the key as `_KEY`."""
    if not file.is_file():
        raise NotFound(f"no such file: {file}; the mapping joins it")
    if file.stat().st_size > _MAX_BYTES:
        raise InvalidData(f"too large to join; expected at most {_MAX_BYTES >> 20:,} MiB", file=file)
    (table,) = collect_tables([scan_table(file, csv=join.csv)], [file])
    name = join.right_on or join.on
    if name not in table.columns:
        raise InvalidData(f"missing column; found {', '.join(table.columns[:30])}", file=file, field=name)
    keyed = table.with_columns(clean_ids(as_text(pl.col(name), table.schema[name])).alias(_KEY)).with_row_index(
        "\0row", 1
    )
    keyed = keyed.filter(pl.col(_KEY).is_not_null())
    again = keyed.filter(~pl.col(_KEY).is_first_distinct()).head(1)
    if not again.is_empty():
        row, key = again.select("\0row", _KEY).row(0)
        raise InvalidData(f"expected a unique key, got {key!r} again", file=file, row=row, field=name)
    return keyed.drop("\0row")
