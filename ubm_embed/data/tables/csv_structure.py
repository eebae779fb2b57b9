"""The structure of CSV text: where its records end, checked for every byte before anything is parsed.

Parsers of CSV guess what malformed text means, each in its own way, and may drop rows (pola-rs/polars#22395). Here
every record must have as many fields as there are columns, and every quote must open or close a whole field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ubm_embed.errors import InvalidData

_LF, _CR = 0x0A, 0x0D
QUOTE_ADVICE = (
    'double the quote, or, if quotes are characters like any other, declare quote = "" in a mapping or take a '
    "ready-made one that does, such as google_merchant_unquoted"
)

LONE_RETURN_PROBLEM = "a carriage return without a line feed; expected lines that end in LF or CR LF"
NUL_PROBLEM = "a NUL character; if the text is UTF-16, declare its encoding in a mapping"

_Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Marks:
    """What divides a buffer of CSV text.

    Attributes:
        dividers: positions of separators and line feeds outside quotes.
        ends: which of `dividers` are line feeds.
        line_feeds: positions of these.
        quotes: positions of all quotes: by turns they open and close.
    """

    dividers: _Positions
    ends: _Positions
    line_feeds: _Positions
    quotes: _Positions

    @property
    def end(self) -> int:
        """Bytes of the records that are complete."""
        return int(self.line_feeds[-1]) + 1 if self.line_feeds.size else 0

    def place(self, position: int) -> tuple[int, int]:
        """The number of lines before a position, and of fields before it in its line."""
        line = int(np.searchsorted(self.line_feeds, position))
        first = int(self.ends[line - 1]) + 1 if line else 0
        return line, int(np.searchsorted(self.dividers, position)) - first


def find_marks(buffer: bytes, separator: str, quote: str) -> Marks:
    """The marks of a buffer that begins with a record."""
    text = np.frombuffer(buffer, np.uint8)
    divides = (text == _LF) | (text == ord(separator))
    quotes = np.empty(0, np.int64)
    if quote and quote.encode() in buffer:
        is_quote = text == ord(quote)
        marks = np.flatnonzero(divides | is_quote)
        quoting = is_quote[marks]
        quotes, dividers = marks[quoting], marks[~quoting & (np.cumsum(quoting) & 1 == 0)]
    else:
        dividers = np.flatnonzero(divides)
    ends = np.flatnonzero(text[dividers] == _LF)
    return Marks(dividers, ends, dividers[ends], quotes)


def count_plain_rows(block: bytes, separator: str, columns: int) -> int | None:
    """The number of rows of complete records without quotes, or None if anything needs a closer look.

    This is all that most files need, in half the time of `RecordCheck.records`.
    """
    text = np.frombuffer(block, np.uint8)
    dividers = np.flatnonzero((text == _LF) | (text == ord(separator)))
    rows = block.count(b"\n")
    # One column has no separators by which a blank line would be noticed.
    if columns == 1 or dividers.size != rows * columns or (text[dividers[columns - 1 :: columns]] != _LF).any():
        return None
    return rows if _is_clean(block) else None


def _is_clean(block: bytes) -> bool:
    try:
        block.isascii() or block.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in block and (b"\r" not in block or block.count(b"\r") == block.count(b"\r\n"))


@dataclass(frozen=True)
class RecordCheck:
    """Checks buffers of a file's records.

    Attributes:
        columns: their names, for messages and for their number.
    """

    file: Path
    columns: Sequence[str]
    quote: str

    def quotes(self, buffer: bytes, marks: Marks, row: int, *, final: bool) -> None:
        """Raise for a quote that neither opens nor closes a field; `row` is the number of rows before the buffer."""
        text, quotes = np.frombuffer(buffer, np.uint8), marks.quotes
        if not quotes.size:
            return
        opening, closing = quotes[0::2], quotes[1::2]
        before, after = opening[opening > 0], closing[closing + 1 < text.size]
        # A quote that follows the one that closed its field is the second of a pair that stands for one.
        stray_opening = before[~(_at(before - 1, marks.dividers) | (text[before - 1] == ord(self.quote)))]
        following = text[after + 1]
        line_ends = (following == _CR) & ((after + 2 == text.size) | _at(after + 2, marks.line_feeds))
        stray_closing = after[~(_at(after + 1, marks.dividers) | (following == ord(self.quote)) | line_ends)]
        stray = np.concatenate([stray_opening[:1], stray_closing[:1]])
        if stray.size:
            problem = f"a quote inside a field; {QUOTE_ADVICE}"
            raise self._error(problem, buffer, marks, int(stray.min()), row)
        if final and quotes.size % 2:
            problem = f"a quote that is never closed; {QUOTE_ADVICE}"
            raise self._error(problem, buffer, marks, int(quotes[-1]), row)

    def records(self, buffer: bytes, marks: Marks, row: int, *, cut: bool) -> int:
        """The number of rows in a buffer of complete records without blank lines; raises if one is malformed."""
        fields = np.diff(marks.ends, prepend=-1)
        ragged = np.flatnonzero(fields != len(self.columns))
        if ragged.size:
            first = int(ragged[0])
            hint = "; the file may be cut short" if cut and first == fields.size - 1 and fields[first] else ""
            problem = f"expected {len(self.columns)} fields, found {fields[first]}{hint}"
            raise InvalidData(problem, file=self.file, row=row + first + 1)
        if not _is_clean(buffer):
            self._text(buffer, marks, row)
        return int(fields.size)

    def _text(self, buffer: bytes, marks: Marks, row: int) -> None:
        try:
            buffer.decode()
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 text: {error.reason}; another encoding can be declared in a mapping"
            raise self._error(problem, buffer, marks, error.start, row) from None
        if b"\0" in buffer:
            raise self._error(NUL_PROBLEM, buffer, marks, buffer.index(b"\0"), row)
        text = np.frombuffer(buffer, np.uint8)
        returns = np.flatnonzero(text[:-1] == _CR)
        outside = np.searchsorted(marks.quotes, returns) % 2 == 0
        alone = returns[outside & (text[returns + 1] != _LF)]
        if alone.size:
            raise self._error(LONE_RETURN_PROBLEM, buffer, marks, int(alone[0]), row)

    def _error(self, problem: str, buffer: bytes, marks: Marks, position: int, row: int) -> InvalidData:
        line, field = marks.place(position)
        number = row + int(np.count_nonzero(~_blank(buffer, marks)[:line])) + 1
        # A header is row 0.
        name = self.columns[field] if number and field < len(self.columns) else None
        return InvalidData(problem, file=self.file, row=number or None, field=name)


def without_blank_lines(buffer: bytes, marks: Marks) -> bytes:
    """The complete records of the buffer without lines that are empty, which stand for no record."""
    blank = _blank(buffer, marks)
    if not blank.any():
        return buffer[: marks.end]
    bounds = np.concatenate([[0], marks.line_feeds + 1]).tolist()
    return b"".join(buffer[bounds[line] : bounds[line + 1]] for line in np.flatnonzero(~blank).tolist())


def _blank(buffer: bytes, marks: Marks) -> NDArray[np.bool_]:
    lengths = np.diff(marks.line_feeds, prepend=-1) - 1
    returns = np.frombuffer(buffer, np.uint8)[np.maximum(marks.line_feeds - 1, 0)] == _CR
    blank: NDArray[np.bool_] = (lengths == 0) | ((lengths == 1) & returns)
    return blank


def _at(positions: _Positions, of: _Positions) -> NDArray[np.bool_]:
    """Which of `positions` are among the ascending ones `of`."""
    if not of.size:
        return np.zeros(positions.size, bool)
    found = np.searchsorted(of, positions)
    there: NDArray[np.bool_] = of[np.minimum(found, of.size - 1)] == positions
    return there
