"""Products to upsert: which values a source gives for them, in the types of the version's columns.

A field that a row does not have is left as it is, and null clears it. JSON says that of each row; a table of another
kind has the same columns in every row, and so has what a mapping reads. XML, which has no null, clears nothing.

Letters: K products.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from indexer.refresh.settled_files import cut_short, require_unchanged, stamps
from indexer.store.table_schema import POPULARITY
from ubm_embed.data.mappings.mapping import Mapping as ColumnMapping
from ubm_embed.data.products import CatalogueFile
from ubm_embed.data.tables.in_words import type_in_words, value_in_words
from ubm_embed.data.tables.json_table import row_keys
from ubm_embed.data.tables.table_files import scan_table, table_kind
from ubm_embed.data.typed_values import as_type, first_unlike
from ubm_embed.errors import InvalidData

_JSON = ("JSON", "JSON Lines")

# The file and the row in it, from 1, of a row from 0; no file for products that are in memory.
Location = Callable[[int], tuple[Path | None, int]]


@dataclass(frozen=True)
class ProductChanges:
    """Products to upsert, each once.

    Attributes:
        rows: all of the shop's columns; null where a value is not given: [K].
        given: whether it is, for each column but `product_id`: [K].
        locate: where a row stands.
        notices: what a person should know about the file, in words.
    """

    rows: pl.DataFrame
    given: pl.DataFrame
    locate: Location
    notices: tuple[str, ...] = ()

    def fault(self, problem: str, row: int, field: str) -> InvalidData:
        """The error that a field of a row, from 0, is wrong."""
        file, number = self.locate(row)
        return InvalidData(problem, file=file, row=number, field=field)


def read_changes(
    path: Path, columns: Mapping[str, pl.DataType], mapping: ColumnMapping | None = None, *, max_rows: int
) -> ProductChanges:
    """The first products in a file, or in all files of a folder, which then have the same columns.

    Args:
        columns: the shop's columns and their types.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a repeated id, an unknown column or a value of another type; names file, row, field.
        Conflict: a file changed while it was read.
    """
    source = CatalogueFile(path, mapping)
    before = stamps(source.files)
    try:
        changes = _read(source, columns, max_rows)
    except InvalidData:
        require_unchanged(source.files, before)  # if it changed meanwhile, that is why
        raise
    require_unchanged(source.files, before)
    return changes


def changes_in_memory(products: Sequence[Mapping[str, Any]], columns: Mapping[str, pl.DataType]) -> ProductChanges:
    """Products as JSON has them; read like a file, so that equal values make equal products.

    Raises:
        InvalidData: as `read_changes`, without a file.
    """
    with TemporaryDirectory(prefix="ubm-embed-") as folder:
        file = Path(folder) / "products.jsonl"
        file.write_text("".join(json.dumps(product) + "\n" for product in products), "utf-8")
        try:
            changes = _read(CatalogueFile(file), columns, len(products))
        except InvalidData as error:
            raise InvalidData(error.problem, row=error.row, field=error.field) from None
    return ProductChanges(changes.rows, changes.given, lambda row: (None, row + 1))


def _read(source: CatalogueFile, columns: Mapping[str, pl.DataType], max_rows: int) -> ProductChanges:
    _require_same_columns(source)
    frame = source.first_rows(max_rows)
    for name in frame.columns:
        if name not in columns:
            raise InvalidData(_unknown(name), file=source.path, field=name)
    rows = frame.select(
        _typed(frame[name], dtype, source) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in columns.items()
    )
    given = _given(frame, source).select(
        pl.col(name) if name in frame.columns else pl.lit(False).alias(name) for name in columns if name != "product_id"
    )
    # A JSON object that was cut short cannot be read, and products that are missing do no harm here.
    cut = [file for file in cut_short(source.files) if table_kind(file) not in _JSON]
    last = (f"{file.name} does not end in a newline and may have been cut short" for file in cut)
    return ProductChanges(rows, given, source.locate, (*source.changes, *last))


def _require_same_columns(source: CatalogueFile) -> None:
    """Raise `InvalidData` if one of several files lacks a column of another, which would seem to be cleared."""
    if len(source.files) == 1 or source.mapping is not None or table_kind(source.files[0]) in _JSON:
        return
    first, *others = ((file, set(scan_table(file).collect_schema())) for file in source.files)
    for file, names in others:
        if names != first[1]:
            problem = f"expected the columns of {first[0].name}; upsert files with other columns one by one"
            raise InvalidData(problem, file=file, field=min(names ^ first[1]))


def _unknown(column: str) -> str:
    if column == POPULARITY:
        return "counted from interactions; run: ubm-embed refresh --interactions FILE"
    return "the store's products have no such column; to add it, refresh with a catalogue that has it"


def _typed(values: pl.Series, dtype: pl.DataType, source: CatalogueFile) -> pl.Series:
    """Values in the type of their column.

    Raises:
        InvalidData: names the first that does not have it.
    """
    try:
        cast = as_type(values, dtype)
    except ValueError:
        problem = f"expected {type_in_words(dtype)}, found {type_in_words(values.dtype)}"
        raise InvalidData(problem, file=source.path, field=values.name) from None
    row = first_unlike(values, cast)
    if row is not None:
        file, number = source.locate(row)
        problem = f"expected {type_in_words(dtype)}, got {value_in_words(values[row])}"
        raise InvalidData(problem, file=file, row=number, field=values.name)
    return cast


def _given(frame: pl.DataFrame, source: CatalogueFile) -> pl.DataFrame:
    """Whether a value is given, for each column of the file: [K]."""
    kind = table_kind(source.files[0])
    if kind == "XML":  # an element that is missing and one that is empty are the same
        return frame.select(pl.all().is_not_null())
    if source.mapping is not None or not any(frame.null_count().row(0)) or kind not in _JSON:
        return pl.DataFrame({name: pl.repeat(True, frame.height, eager=True) for name in frame.columns})
    keys = list(islice(_keys(source.files), frame.height))
    return pl.DataFrame({name: [name in row for row in keys] for name in frame.columns})


def _keys(files: Sequence[Path]) -> Iterator[frozenset[str]]:
    for file in files:
        yield from row_keys(file)
