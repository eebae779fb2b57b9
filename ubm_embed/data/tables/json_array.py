"""A file that is one JSON array, or JSON objects over several lines, read an element at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path

from ubm_embed.data.tables.json_lines import LineBlock
from ubm_embed.data.tables.json_values import json_problem, refuse_constant
from ubm_embed.data.tables.text_stream import CHUNK_BYTES, MAX_RECORD_BYTES, BrokenTextError, utf8_chunks
from ubm_embed.errors import InvalidData

_BLANK = re.compile(r"[ \t\r\n]*")
# Line breaks are between the tokens of JSON: inside of a text they are written as escapes.
_BREAK = re.compile(r"[\r\n]+")
_DECODER = json.JSONDecoder(parse_constant=refuse_constant)


def element_blocks(file: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[LineBlock]:
    """The elements of the array, or the objects, as lines, numbered from 1, in blocks of about `chunk_bytes`.

    Raises:
        InvalidData: malformed JSON, with the element, its line and column; damaged compression.
    """
    elements: list[str] = []
    done = size = 0
    for element in _Elements(file, chunk_bytes):
        elements.append(_BREAK.sub(" ", element))
        size += len(element)
        if size >= chunk_bytes:
            yield LineBlock("\n".join(elements).encode(), done + 1, len(elements))
            done, size, elements = done + len(elements), 0, []
    if elements:
        yield LineBlock("\n".join(elements).encode(), done + 1, len(elements))


class _Elements:
    """The JSON text of each element of an array, or else of each value, found as more and more of the file is read."""

    def __init__(self, file: Path, chunk_bytes: int) -> None:
        self._file = file
        self._chunks = utf8_chunks(file, chunk_bytes)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._complete = "", 0, False
        self._done, self._line, self._column = 0, 1, 0

    def __iter__(self) -> Iterator[str]:
        if self._next_character() != "[":
            while self._next_character():
                yield self._counted()
            return
        self._at += 1
        if self._next_character() == "]":
            self._at += 1
        else:
            yield self._counted()
            while self._take(",", "]") == ",":
                yield self._counted()
        if self._next_character():
            raise self._error("text after the array", self._at)

    def _counted(self) -> str:
        element = self._element()
        self._done += 1
        return element

    def _element(self) -> str:
        self._next_character()
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._read_more():
                    raise self._error(json_problem(error), error.pos) from None
            except RecursionError:
                raise self._error("nested too deeply", self._at) from None
            except ValueError as error:
                raise self._error(str(error), self._at) from None
            else:
                # A number at the end may go on in what follows.
                if end < len(self._text) or not self._read_more():
                    element = self._text[self._at : end]
                    self._at = end
                    return element

    def _take(self, *expected: str) -> str:
        character = self._next_character()
        if character not in expected:
            raise self._error(f"expected {' or '.join(expected)}", self._at)
        self._at += 1
        return character

    def _next_character(self) -> str:
        """The character after blanks, not taken; an empty text at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Double the text from here on; returns whether there was more."""
        if self._complete:
            return False
        if self._at:
            self._forget(self._at)
        if len(self._text) > MAX_RECORD_BYTES:
            problem = f"an element of more than {MAX_RECORD_BYTES >> 20} MB"
            raise InvalidData(problem, file=self._file, row=self._done + 1)
        pieces, wanted = [self._text], 2 * len(self._text) + 1
        length = len(self._text)
        while length < wanted and not self._complete:
            pieces.append(self._decoded())
            length += len(pieces[-1])
        self._text = "".join(pieces)
        return True

    def _decoded(self) -> str:
        try:
            chunk = next(self._chunks, None)
            self._complete = chunk is None
            return self._decoder.decode(chunk or b"", final=self._complete)
        except (UnicodeDecodeError, BrokenTextError) as error:
            problem = f"not UTF-8 text: {error.reason}" if isinstance(error, UnicodeDecodeError) else str(error)
            raise InvalidData(problem, file=self._file, row=self._done + 1) from None

    def _forget(self, end: int) -> None:
        """Drop the text before `end`, and remember its lines for messages."""
        self._line, self._column = self._position(end)
        self._text, self._at = self._text[end:], 0

    def _position(self, at: int) -> tuple[int, int]:
        """The 1-based line, and the number of characters before it in that line."""
        breaks = self._text.count("\n", 0, at)
        column = at - self._text.rfind("\n", 0, at) - 1 if breaks else self._column + at
        return self._line + breaks, column

    def _error(self, problem: str, at: int) -> InvalidData:
        line, column = self._position(at)
        where = f"line {line}, column {column + 1}"
        return InvalidData(f"not JSON: {problem} at {where}", file=self._file, row=self._done + 1)
