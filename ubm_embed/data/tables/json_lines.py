"""JSON Lines, a block of lines at a time: parsed by polars where that is exact, line by line where it is not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.data.tables.json_values import Fitting, Misfit, json_problem, parse_json, shown, whole_text
from ubm_embed.data.tables.text_stream import CHUNK_BYTES, MAX_RECORD_BYTES, BrokenTextError, utf8_chunks
from ubm_embed.errors import InvalidData

# Of a block that polars refuses, only the parts of this size that it refuses as well are read line by line.
_PART_BYTES = 1 << 15
_PARTS = 16
_BLANKS = b" \t\r"
# polars turns the first half of a pair of surrogates into NUL if the second is missing.
_SURROGATES = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?")

# polars writes nested values as text without escaping backslashes, most control characters, and quotes in keys.
_ESCAPES = re.compile(rb"\\(?:[^u]|u00(?:[01]|22|5[cC]))")


@dataclass(frozen=True)
class LineBlock:
    """Complete lines.

    Attributes:
        first: the 1-based number of the first one in its file.
        count: how many they are, blank ones too.
    """

    text: bytes
    first: int
    count: int

    @classmethod
    def of(cls, text: bytes, first: int) -> LineBlock:
        """Lines of which the last may lack its line feed."""
        return cls(text, first, text.count(b"\n") + (not text.endswith(b"\n")))


def line_blocks(file: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[LineBlock]:
    """The lines of a text file in blocks of about `chunk_bytes`; the last line may lack its line feed.

    Raises:
        InvalidData: damaged compression, or a line that is too long.
    """
    pending, first = [b""], 1
    size = 0
    try:
        for chunk in utf8_chunks(file, chunk_bytes):
            end = chunk.rfind(b"\n") + 1
            if end:
                block = LineBlock.of(b"".join([*pending, memoryview(chunk)[:end]]), first)
                yield block
                first += block.count
                pending, size = [], 0
            pending.append(chunk[end:])
            size += len(pending[-1])
            if size > MAX_RECORD_BYTES:
                raise BrokenTextError(f"a line of more than {MAX_RECORD_BYTES >> 20} MB; expected one object a line")
    except BrokenTextError as error:
        raise InvalidData(str(error), file=file, row=first) from None
    if rest := b"".join(pending):
        yield LineBlock.of(rest, first)


@dataclass(frozen=True)
class LineReader:
    """Reads blocks of lines as frames.

    Attributes:
        schema: the columns to read.
        json_text: those whose lists and objects are read as JSON text.
        row: name of the column with the number of the line.
        problem: name of the column that says what is wrong with the row; None makes that an error.
    """

    file: Path
    schema: Mapping[str, pl.DataType]
    json_text: Collection[str] = ()
    row: str | None = None
    problem: str | None = None

    def frame(self, block: LineBlock) -> pl.DataFrame:
        """The rows of a block: one for each line that is not blank.

        Raises:
            InvalidData: malformed JSON, with its line and column; without `problem` also a line that is no object, and
                a value that does not fit.
        """
        parsed = self._parsed(block.text)
        lines = _Lines.of(block, 0 if parsed is None else parsed.height)
        if parsed is None or parsed.height != len(lines.numbers):
            if len(block.text) > _PART_BYTES and len(parts := list(_parts(block))) > 1:
                return pl.concat([self.frame(part) for part in parts])
            return self._line_by_line(lines, range(len(lines.numbers)))
        odd = self._odd_rows(parsed, lines)
        return self._line_by_line(lines, odd) if odd else self._marked(parsed, lines, {})

    def _parsed(self, text: bytes) -> pl.DataFrame | None:
        try:
            return pl.read_ndjson(io.BytesIO(text), schema=self.schema or {"": pl.String()})
        except pl.exceptions.PolarsError:
            return None

    def _odd_rows(self, frame: pl.DataFrame, lines: _Lines) -> list[int]:
        """Rows that polars read without an error, but in a way of its own."""
        odd = lines.with_lone_surrogates()
        if not lines.may_have_nested_values():
            return sorted(odd)
        declared = [(name, dtype) for name, dtype in self.schema.items() if name not in self.json_text]
        nested = [check for name, dtype in declared for check in _begins_like_json(pl.col(name), dtype)]
        odd.update(_rows_where(frame, nested))
        if b"\\" in lines.block.text and _ESCAPES.search(lines.block.text):
            texts = [
                check for name in self.json_text if name in self.schema for check in _begins_like_json(pl.col(name))
            ]
            rows, in_line = _rows_where(frame, texts), lines.texts
            odd.update(row for row in rows if _ESCAPES.search(in_line[row]))
        return sorted(odd)

    def _line_by_line(self, lines: _Lines, rows: Collection[int]) -> pl.DataFrame:
        texts, problems = lines.texts, {}
        for row in rows:
            texts[row], misfits = self._fitted(texts[row], lines.numbers[row])
            if misfits:
                problems[row] = _described(misfits)
        frame = self._parsed(b"\n".join(texts))
        if frame is None or frame.height != len(texts):
            raise InvalidData("not readable as JSON Lines", file=self.file, row=lines.numbers[0])
        return self._marked(frame, lines, problems)

    def _fitted(self, text: bytes, number: int) -> tuple[bytes, list[Misfit]]:
        """The line with what fits the schema alone, and what does not."""
        value = loads(text, self.file, number)
        fitting = Fitting(self.schema, self.json_text)
        if isinstance(value, dict):
            fitted = fitting.fit(value)
        else:
            fitted, fitting.misfits = {}, [Misfit("", f"expected an object, got {shown(value)}")]
        if fitting.misfits and self.problem is None:
            first = fitting.misfits[0]
            raise InvalidData(first.problem, file=self.file, row=number, field=first.field or None)
        return whole_text(json.dumps(fitted, ensure_ascii=False)).encode(), fitting.misfits

    def _marked(self, frame: pl.DataFrame, lines: _Lines, problems: Mapping[int, str]) -> pl.DataFrame:
        marks = []
        if self.row is not None:
            numbers = lines.numbers
            exact = pl.int_range(numbers.start, numbers.stop, eager=True) if isinstance(numbers, range) else numbers
            marks.append(pl.Series(self.row, exact, dtype=pl.Int64))
        if self.problem is not None:
            texts = [problems.get(row) for row in range(frame.height)] if problems else None
            marks.append(pl.Series(self.problem, texts or [None], dtype=pl.String))
            marks[-1] = marks[-1] if texts else marks[-1].new_from_index(0, frame.height)
        return frame.with_columns(marks).select(*self.schema, *(mark.name for mark in marks))


def _rows_where(frame: pl.DataFrame, conditions: list[pl.Expr]) -> list[int]:
    """The 0-based rows where one of the conditions holds."""
    return frame.select(pl.any_horizontal(conditions).arg_true()).to_series().to_list() if conditions else []


def _begins_like_json(value: pl.Expr, dtype: pl.DataType | DataTypeClass = pl.String) -> list[pl.Expr]:
    """Conditions of which one holds where a text at any depth of `value` begins with a bracket."""
    if dtype == pl.String:
        return [value.str.starts_with("[") | value.str.starts_with("{")]
    if isinstance(dtype, pl.Struct):
        return [
            check for each in dtype.fields for check in _begins_like_json(value.struct.field(each.name), each.dtype)
        ]
    if isinstance(dtype, pl.List) and (inner := _begins_like_json(pl.element(), dtype.inner)):
        return [value.list.eval(pl.any_horizontal(inner)).list.any()]
    return []


def _parts(block: LineBlock) -> Iterator[LineBlock]:
    text, first, begin = block.text, block.first, 0
    while begin < len(text):
        end = text.find(b"\n", begin + len(text) // _PARTS) + 1 or len(text)
        part = LineBlock.of(text[begin:end], first)
        yield part
        first += part.count
        begin = end


def _described(misfits: list[Misfit]) -> str:
    texts = [f"field {misfit.field}: {misfit.problem}" if misfit.field else misfit.problem for misfit in misfits]
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    return f"{texts[0]}{more}"


def loads(text: bytes, file: Path, number: int) -> Any:
    """The value of a line.

    Raises:
        InvalidData: not JSON; names the line and the column.
    """
    try:
        return parse_json(text.decode())
    except UnicodeDecodeError as error:
        raise InvalidData(f"not UTF-8 text: {error.reason}", file=file, row=number) from None
    except json.JSONDecodeError as error:
        raise InvalidData(f"not JSON: {json_problem(error)} at column {error.colno}", file=file, row=number) from None
    except RecursionError:
        raise InvalidData("not readable as JSON: nested too deeply", file=file, row=number) from None
    except ValueError as error:
        raise InvalidData(f"not JSON: {error}", file=file, row=number) from None


@dataclass(frozen=True)
class _Lines:
    """The lines of a block that are not blank.

    Attributes:
        numbers: the number of each in the file.
    """

    block: LineBlock
    numbers: Sequence[int]

    @classmethod
    def of(cls, block: LineBlock, rows: int) -> _Lines:
        """The lines of a block that was parsed as so many rows."""
        if block.count == rows:  # then none is blank
            return cls(block, range(block.first, block.first + rows))
        lines = enumerate(block.text.split(b"\n"), start=block.first)
        return cls(block, [number for number, text in lines if text.strip(_BLANKS)])

    @property
    def texts(self) -> list[bytes]:
        return [text for text in self.block.text.split(b"\n") if text.strip(_BLANKS)]

    def may_have_nested_values(self) -> bool:
        """Whether there is more than one object a line, or a list."""
        text = self.block.text
        return b"[" in text or text.count(b"{") != len(self.numbers)

    def with_lone_surrogates(self) -> set[int]:
        """The rows that have half a pair of surrogates without the other."""
        text = self.block.text
        if (
            b"\\" not in text
            or not (b"\\ud" in text or b"\\uD" in text)
            or all(match[1] for match in _SURROGATES.finditer(text))
        ):
            return set()
        return {row for row, line in enumerate(self.texts) if any(not match[1] for match in _SURROGATES.finditer(line))}
