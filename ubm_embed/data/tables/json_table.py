"""JSON files as tables: an array of objects, or one object a line."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.json_array import element_blocks
from ubm_embed.data.tables.json_lines import LineBlock, LineReader, line_blocks, loads
from ubm_embed.data.tables.json_values import shown, whole_text
from ubm_embed.data.tables.streamed_table import in_advance, in_parallel, streamed_table
from ubm_embed.data.tables.table_kinds import holds_elements
from ubm_embed.data.tables.text_stream import CHUNK_BYTES
from ubm_embed.errors import InvalidData

Blocks = Callable[[Path, int], Iterator[LineBlock]]


def scan_json(
    file: Path,
    *,
    in_elements: bool,
    schema: Mapping[str, pl.DataType] | None = None,
    json_text: Collection[str] = (),
    row: str | None = None,
    problem: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> pl.LazyFrame:
    """The objects of a JSON file as rows.

    Args:
        file: may be compressed.
        in_elements: whether it is an array, or objects over several lines; otherwise one object a line.
        schema: columns and their types: text, lists and records. None reads every key as text, lists and objects as
            their JSON text; all of the file is searched for keys at once.
        json_text: columns of `schema` whose lists and objects are read as their JSON text. Elsewhere a list is joined
            where text is declared, and an object does not fit.
        row: adds a column of this name with the 1-based number of the line or the element.
        problem: adds a text column of this name: what of the row did not fit and is null, or null. A row that is no
            object is a row of nulls.
        chunk_bytes: bytes to read at a time.

    Raises:
        InvalidData: when the frame is collected, or here without `schema`: malformed JSON, by element or line and by
            column; without `problem` also a row that does not fit.
    """
    blocks: Blocks = element_blocks if in_elements else line_blocks
    if schema is None:
        keys = _keys(file, blocks(file, chunk_bytes), strict=problem is None)
        schema, json_text = dict.fromkeys(keys, pl.String()), keys
    # A column of the file with the name of one that is added gives way.
    schema = {name: dtype for name, dtype in schema.items() if name not in (row, problem)}
    columns = dict(schema)
    if row is not None:
        columns[row] = pl.Int64()
    if problem is not None:
        columns[problem] = pl.String()
    reader = LineReader(file, schema, json_text, row, problem)

    def frames(wanted: list[str]) -> Iterator[pl.DataFrame]:
        # What is said of a row is about all of its columns.
        needed = {name: dtype for name, dtype in schema.items() if name in wanted or problem in wanted}
        narrow = replace(reader, schema=needed, row=row if row in wanted else None)
        return in_parallel(lambda block: narrow.frame(block).select(wanted), in_advance(blocks(file, chunk_bytes)))

    return streamed_table(file, columns, frames)


def row_keys(file: Path) -> Iterator[frozenset[str]]:
    """The keys of each object of a JSON file, in the order of the rows of `scan_json`.

    Raises:
        InvalidData: malformed JSON.
    """
    blocks = element_blocks if holds_elements(file) else line_blocks
    for block in blocks(file):
        for number, line in enumerate(block.text.split(b"\n"), start=block.first):
            if line.strip():
                yield frozenset(map(whole_text, loads(line, file, number)))


def _keys(file: Path, blocks: Iterator[LineBlock], *, strict: bool) -> list[str]:
    """Every key of the objects, in order of first occurrence.

    Raises:
        InvalidData: malformed JSON, no object at all, and if `strict` any other value among them.
    """
    keys: dict[str, None] = {}
    for block in blocks:
        try:
            found = set(pl.read_ndjson(io.BytesIO(block.text), infer_schema_length=None).columns)
        except pl.exceptions.PolarsError:
            found = None
        if found is None or not found <= keys.keys():
            keys.update(dict.fromkeys(map(whole_text, _keys_in_order(file, block, found, strict=strict))))
    if not keys:
        raise InvalidData("no rows; expected at least one", file=file)
    return list(keys)


def _keys_in_order(file: Path, block: LineBlock, found: set[str] | None, *, strict: bool) -> list[str]:
    """The keys of a block; polars finds them as a set, of which the first lines usually have all."""
    keys: dict[str, None] = {}
    for number, line in enumerate(block.text.split(b"\n"), start=block.first):
        if line.strip():
            value = loads(line, file, number)
            if isinstance(value, dict):
                keys.update(dict.fromkeys(value))
            elif strict:
                raise InvalidData(f"expected an object, got {shown(value)}", file=file, row=number)
        if found is not None and found <= keys.keys():
            break
    return list(keys)
