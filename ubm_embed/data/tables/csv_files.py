"""CSV files, read so that no row can be lost: checked by bytes, counted, and parsed a block at a time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from ubm_embed.data.tables.column_names import column_names
from ubm_embed.data.tables.csv_escapes import without_escapes
from ubm_embed.data.tables.csv_separators import STAND_IN, with_stand_in
from ubm_embed.data.tables.csv_structure import (
    LONE_RETURN_PROBLEM,
    NUL_PROBLEM,
    QUOTE_ADVICE,
    Marks,
    RecordCheck,
    count_plain_rows,
    find_marks,
    without_blank_lines,
)
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.streamed_table import in_advance, streamed_table
from ubm_embed.data.tables.text_stream import CHUNK_BYTES, MAX_RECORD_BYTES, BrokenTextError, is_utf8, utf8_chunks
from ubm_embed.errors import InvalidData

_SEPARATORS = ",;\t|"
# Excel reads such a line before the header as the separator of the file, and no program as a row.
_EXCEL_LINE = re.compile(rb'("?)sep=([^\x80-\xff\0\r\n"])\1(?:\r?\n|\Z)', re.IGNORECASE)
_EXCEL_LINE_BYTES = len(b'"sep=;"\r\n')


def scan_csv(file: Path, written: CsvFormat, row: str | None = None, *, chunk_bytes: int = CHUNK_BYTES) -> pl.LazyFrame:
    """The rows of a CSV file, every column as text. Lines that are empty stand for no row, nor does Excel's
    `sep=;` before the header.

    Args:
        file: may be compressed.
        written: how it is written.
        row: adds a column of this name with the 1-based number of the row, the header not counted.
        chunk_bytes: bytes to read at a time.

    Raises:
        InvalidData: no header, or a column name that occurs twice. When the frame is collected: a row with another
            number of fields than the header, a quote inside a field, text in another encoding; names the row.
    """
    if written.fallback_encoding is not None and not is_utf8(file):
        written = written.replace(encoding=written.fallback_encoding)
    table = _CsvTable.open(file, written, chunk_bytes)
    schema: dict[str, pl.DataType] = dict.fromkeys(table.columns, pl.String())
    if row is not None:
        schema[row] = pl.Int64()
    return streamed_table(file, schema, lambda columns: table.frames(columns, row))


@dataclass(frozen=True)
class _CsvTable:
    file: Path
    columns: tuple[str, ...]
    separator: str
    written: CsvFormat
    chunk_bytes: int

    @classmethod
    def open(cls, file: Path, written: CsvFormat, chunk_bytes: int) -> _CsvTable:
        given = STAND_IN if _is_long(written) else written.separator
        if written.names is not None and given is not None:
            return cls(file, column_names(written.names, file), given, written, chunk_bytes)
        first = _first_record(file, written, chunk_bytes)
        separator = given or _excel_separator(file, written) or _separator(first, written.quote)
        columns = written.names or _fields(first, separator, written.quote, file)
        if _is_long(written):
            columns = [name.replace(STAND_IN, written.separator or "") for name in columns]
        return cls(file, column_names(columns, file), separator, written, chunk_bytes)

    def frames(self, columns: list[str], row: str | None) -> Iterator[pl.DataFrame]:
        """The rows, in those of the columns."""
        texts = [name for name in columns if name != row]
        first = 1
        for block, rows in in_advance(self._blocks()):
            frame = self._parse(block, texts or [self.columns[0]])
            if frame.height != rows:
                problem = f"rows {first} to {first + rows - 1} were parsed as {frame.height} rows"
                raise InvalidData(f"{problem}; {QUOTE_ADVICE}", file=self.file)
            numbers = pl.int_range(first, first + rows, dtype=pl.Int64, eager=True)
            yield frame.with_columns(numbers.alias(row)).select(columns) if row in columns else frame.select(texts)
            first += rows

    def _parse(self, block: bytes, columns: Sequence[str]) -> pl.DataFrame:
        try:
            frame = pl.read_csv(
                io.BytesIO(block),
                has_header=False,
                schema=dict.fromkeys(self.columns, pl.String),
                columns=[self.columns.index(name) for name in columns],
                separator=self.separator,
                quote_char=self.written.quote or None,
                null_values=list(self.written.nulls) or None,
            )
        except pl.exceptions.PolarsError as error:
            raise InvalidData(f"not readable as CSV: {str(error).splitlines()[0]}", file=self.file) from None
        if _is_long(self.written) and self.written.quote:  # then a field may have the separator in it
            return frame.with_columns(pl.all().str.replace_all(STAND_IN, self.written.separator or "", literal=True))
        return frame

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        """Complete, checked records without the header, and how many they are."""
        separator, quote = self.separator, self.written.quote
        check = RecordCheck(self.file, self.columns, quote)
        header = self.written.names is None
        done = -1 if header else 0
        try:
            for text in _records(self.file, self.written, separator, self.chunk_bytes):
                block = text.buffer[: text.end]
                rows = None if header or text.is_quoted else count_plain_rows(block, separator, len(self.columns))
                if rows is None:
                    check.quotes(text.buffer, text.marks, done, final=text.final)
                    block = without_blank_lines(text.buffer, text.marks)
                    if block and header:
                        block, header, done = block[find_marks(block, separator, quote).line_feeds[0] + 1 :], False, 0
                    rows = check.records(block, find_marks(block, separator, quote), done, cut=text.cut)
                if rows:
                    yield block, rows
                    done += rows
        except BrokenTextError as error:
            raise InvalidData(str(error), file=self.file, row=done + 1 or None) from None


@dataclass(frozen=True)
class _Records:
    """Text that begins with a record.

    Attributes:
        is_quoted: whether it has quotes that may hide a line feed.
        final: whether it is the end of the file.
        cut: whether the file has no line feed at its end; `buffer` has it all the same.
    """

    buffer: bytes
    separator: str
    quote: str
    is_quoted: bool
    final: bool = False
    cut: bool = False

    @cached_property
    def marks(self) -> Marks:
        return find_marks(self.buffer, self.separator, self.quote)

    @property
    def end(self) -> int:
        """Bytes of complete records; what is after them comes again with what follows."""
        return self.marks.end if self.is_quoted else self.buffer.rfind(b"\n") + 1


def _records(file: Path, written: CsvFormat, separator: str, chunk_bytes: int) -> Iterator[_Records]:
    quote = written.quote
    buffer, needed = b"", 0
    for chunk in _chunks(file, written, chunk_bytes):
        buffer += chunk
        if len(buffer) < needed:
            continue
        records = _Records(buffer, separator, quote, is_quoted=bool(quote) and quote.encode() in buffer)
        yield records
        buffer = buffer[records.end :]
        if len(buffer) > MAX_RECORD_BYTES:
            raise BrokenTextError(f"longer than {MAX_RECORD_BYTES >> 20} MB; {QUOTE_ADVICE}")
        # Looking again only once the text has doubled keeps a long record from being searched over and over.
        needed = 0 if records.end else 2 * len(buffer)
    if buffer:
        cut = not buffer.endswith(b"\n")
        buffer += b"\n" * cut
        is_quoted = bool(quote) and quote.encode() in buffer
        yield _Records(buffer, separator, quote, is_quoted, final=True, cut=cut)


def _chunks(file: Path, written: CsvFormat, chunk_bytes: int) -> Iterator[bytes]:
    """The text without Excel's line before the header."""
    chunks = utf8_chunks(file, chunk_bytes, written.encoding)
    if written.escape:
        chunks = without_escapes(chunks, written.escape)
    if _is_long(written):
        chunks = with_stand_in(chunks, written.separator or "")
    beginning = next(chunks, b"")
    while 0 < len(beginning) < _EXCEL_LINE_BYTES and (more := next(chunks, b"")):
        beginning += more
    line = _EXCEL_LINE.match(beginning)
    if text := beginning[line.end() :] if line else beginning:
        yield text
    yield from chunks


def _is_long(written: CsvFormat) -> bool:
    return written.separator is not None and len(written.separator) > 1


def _excel_separator(file: Path, written: CsvFormat) -> str | None:
    """The separator that Excel's line before the header names, if there is one."""
    line = _EXCEL_LINE.match(next(utf8_chunks(file, CHUNK_BYTES, written.encoding), b""))
    return line[2].decode() if line else None


def _first_record(file: Path, written: CsvFormat, chunk_bytes: int) -> str:
    """The text of the first line that is not empty."""
    try:
        for text in _records(file, written, _SEPARATORS[0], chunk_bytes):
            block = without_blank_lines(text.buffer, text.marks)
            if block:
                header = block[: find_marks(block, _SEPARATORS[0], written.quote).line_feeds[0]].decode()
                if "\0" in header:
                    raise InvalidData(f"a header with {NUL_PROBLEM}", file=file)
                return header
    except (BrokenTextError, UnicodeDecodeError) as error:
        problem = f"not UTF-8 text: {error.reason}" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidData(f"the header is {problem}", file=file) from None
    raise InvalidData("empty; expected CSV", file=file)


def _separator(header: str, quote: str) -> str:
    """The separator that occurs most in the header, outside quotes."""
    if quote:
        header = "".join(header.split(quote)[::2])
    return max(_SEPARATORS, key=header.count)


def _fields(record: str, separator: str, quote: str, file: Path) -> list[str]:
    try:
        (fields,) = csv.reader(
            [record.removesuffix("\r")],
            delimiter=separator,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )
    except csv.Error as error:
        problem = LONE_RETURN_PROBLEM if "new-line" in str(error) else f"a header that is not readable: {error}"
        raise InvalidData(problem, file=file) from None
    if not fields:
        raise InvalidData("a header without text", file=file)
    return fields
