"""Small copies of files: their beginning, and some of what comes later."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.table_kinds import holds_elements, table_kind
from ubm_embed.data.tables.text_stream import BrokenTextError, byte_chunks, utf8_chunks
from ubm_embed.errors import InvalidData

MAX_ROWS = 2000
_HEAD_BYTES, _PART_BYTES, _PARTS = 1 << 20, 1 << 17, 8
_MAX_HEADER = 1 << 16  # characters; the parser of the standard library takes fields of twice as many
_ROWS_LATER = 100  # of each part
_MAX_ARRAY_BYTES = 64 << 20
_COMPRESSIONS = (".gz", ".zst", ".zstd", ".bz2")


def sample_file(file: Path, folder: Path, *, encoding: str | None = None, quote: str = '"') -> Path:
    """A copy of at most some thousand rows of `file` in `folder`, in UTF-8 and not compressed, with the same name.

    Of a file that is not compressed, some rows stem from later parts: a log begins with other events than it ends with.

    Raises:
        InvalidData: not readable as text of this encoding, or a JSON array of more than 64 MB.
    """
    name = file.name
    while name.lower().endswith(_COMPRESSIONS):
        name = name[: name.rindex(".")]
    target = folder / name
    kind = table_kind(file)
    if kind == "Parquet":
        _sample_parquet(file).write_parquet(target)
        return target
    if kind == "JSON" and holds_elements(file):
        if file.stat().st_size > _MAX_ARRAY_BYTES:
            problem = f"JSON of more than {_MAX_ARRAY_BYTES >> 20} MB that is not one object a line"
            raise InvalidData(problem, file=file)
        target.write_bytes(_text(file, encoding, file.stat().st_size * 20))
        return target
    lines = _records if kind == "CSV" and quote else _lines
    head = list(islice(lines(_text(file, encoding, _HEAD_BYTES)), MAX_ROWS))
    if not head:
        raise InvalidData("empty; expected rows", file=file)
    later = _later_lines(file) if encoding is None else iter(())
    if kind == "CSV":
        later = _whole_records(head[0], later)
    target.write_bytes(b"\n".join([*head, *later]) + b"\n")
    return target


def _sample_parquet(file: Path) -> pl.DataFrame:
    table = pl.scan_parquet(file, glob=False)
    try:
        rows = int(table.select(pl.len()).collect().item())
        rest = rows - MAX_ROWS
        later = [table.slice(MAX_ROWS + rest * part // _PARTS, _ROWS_LATER) for part in range(1, _PARTS)]
        return pl.concat([table.head(MAX_ROWS), *(later if rest > MAX_ROWS else [])]).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidData(f"not readable as Parquet: {str(error).splitlines()[0]}", file=file) from None


def _text(file: Path, encoding: str | None, size: int) -> bytes:
    """The first bytes of the text, about `size`; whole lines unless the text has no line feed there."""
    text = b""
    try:
        for chunk in utf8_chunks(file, 1 << 16, encoding):
            text += chunk
            if len(text) >= size:
                return text[: text.rfind(b"\n") + 1] or text
    except BrokenTextError as error:
        raise InvalidData(str(error), file=file) from None
    return text


def _lines(text: bytes) -> Iterator[bytes]:
    return (line for line in text.replace(b"\r\n", b"\n").split(b"\n") if line.strip())


def _records(text: bytes) -> Iterator[bytes]:
    """Lines of CSV, those within quotes together; an unfinished one at the end is left out."""
    record = b""
    for line in text.replace(b"\r\n", b"\n").split(b"\n"):
        record = record + b"\n" + line if record else line
        if record.count(b'"') % 2 == 0:
            if record.strip():
                yield record
            record = b""


def _later_lines(file: Path) -> Iterator[bytes]:
    """Whole lines from later parts of a file that is UTF-8 and not compressed."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size < 2 * _HEAD_BYTES or next(byte_chunks(file, 16)) != stream.read(16):
            return
        for part in range(1, _PARTS):
            stream.seek(max(_HEAD_BYTES, size * part // _PARTS))
            lines = stream.read(_PART_BYTES).replace(b"\r\n", b"\n").split(b"\n")
            yield from islice((line for line in lines[1:-1] if line.strip()), _ROWS_LATER)


def _whole_records(header: bytes, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that surely are a record of their own: without quotes, and with as many separators as the header."""
    text = header.decode("utf-8", "replace")
    if len(text) > _MAX_HEADER:
        return
    separators = [separator for separator in ",;\t|" if separator in text]
    try:
        counts = {one.encode(): len(next(csv.reader([text], delimiter=one))) - 1 for one in separators}
    except csv.Error:
        return  # for the reader to explain
    yield from (
        line for line in lines if b'"' not in line and any(line.count(one) == count for one, count in counts.items())
    )
