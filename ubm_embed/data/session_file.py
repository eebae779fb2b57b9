"""Files and streams of sessions: one JSON document, or JSON Lines, which are read as they arrive."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from ubm_embed.data.session import Session, parse_session, read_json
from ubm_embed.errors import InvalidData

# In characters. What a line holds is read whole, and so is a document.
MAX_LINE = 16 * 2**20
MAX_DOCUMENT = 64 * 2**20
# Sessions in one batch: enough to search fast, and few enough for the memory.
MAX_BATCH = 256

_MARK = "\ufeff"  # a byte order mark; files that were joined have one each
_BLANK = f"{_MARK} \t\r\n"
_DECODER = json.JSONDecoder()
_BETWEEN_ENTRIES = re.compile(r"[\s,]*")

NumberedSession = tuple[int, Session]


class SessionLayout(enum.StrEnum):
    """How sessions lie in a text."""

    SESSION = "session"
    LIST = "list"
    LINES = "lines"


class SessionFile:
    """The sessions of a text. Making it reads the first line, or all of a document.

    A first line that is JSON by itself and ends with a line feed begins JSON Lines, also if it is the only one.

    Args:
        chunks: the text, in parts as they arrive.
        name: of the text, for errors.

    Attributes:
        layout: how the sessions lie in it.

    Raises:
        InvalidData: empty, a line or a document beyond its limit, or the beginning is malformed; names the line.
    """

    def __init__(self, chunks: Iterable[str], *, name: str) -> None:
        self._name = name
        self._chunks = iter(chunks)
        head, is_lines = self._read_head()
        if is_lines:
            self.layout = SessionLayout.LINES
            self._head, self._document = head, None
        else:
            self._head = self._read_document(head)
            self._document = read_json(self._head, name)
            self.layout = SessionLayout.LIST if isinstance(self._document, list) else SessionLayout.SESSION
            if self._document == []:
                raise InvalidData("no session; expected at least one in the list", file=name)

    def batches(self) -> Iterator[list[NumberedSession]]:
        """The sessions, each with the line that it starts on, at most `MAX_BATCH` at once. May be called once.

        A document is checked as a whole before its first batch. A batch of JSON Lines is what has arrived; nothing more
        is awaited to fill it, and the sessions before an invalid line come before its error.

        Raises:
            InvalidData: malformed JSON, not a session, or a line beyond the limit; names the line and the field.
        """
        if self.layout is SessionLayout.LINES:
            yield from self._line_batches()
            return
        sessions = [(line, self._parse(entry, line)) for line, entry in self._entries()]
        yield from (sessions[first : first + MAX_BATCH] for first in range(0, len(sessions), MAX_BATCH))

    def _read_head(self) -> tuple[str, bool]:
        """The text up to the end of its first line, blank ones aside, and whether this begins JSON Lines."""
        parts, size, has_begun = list[str](), 0, False
        for chunk in self._chunks:  # each is looked at once, however small it is
            parts.append(chunk)
            size += len(chunk)
            text = chunk if has_begun else chunk.lstrip(_BLANK)
            if not has_begun and text.startswith("["):
                return "".join(parts), False
            has_begun = has_begun or bool(text)
            if "\n" in text:
                return self._first_line("".join(parts))
            if size > MAX_LINE:
                raise _too_long(self._name, 1 + sum(part.count("\n") for part in parts))
        if not has_begun:
            raise InvalidData("empty; expected a session as JSON", file=self._name)
        return "".join(parts), False

    def _first_line(self, head: str) -> tuple[str, bool]:
        text = head.lstrip(_BLANK)
        number = 1 + head.count("\n", 0, len(head) - len(text))
        return head, _is_whole(text.partition("\n")[0], self._name, number)

    def _read_document(self, head: str) -> str:
        parts, size = [head], len(head)
        for chunk in self._chunks:
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_DOCUMENT:
                problem = f"larger than {MAX_DOCUMENT / 2**20:.0f} MB; give one session a line, as JSON Lines"
                raise InvalidData(problem, file=self._name)
        return "".join(parts).removeprefix(_MARK)

    def _entries(self) -> Iterator[tuple[int, Any]]:
        """The sessions of the document, each with the line that it starts on."""
        if isinstance(self._document, list):
            yield from zip(_entry_lines(self._head, len(self._document)), self._document, strict=True)
        else:
            yield 1 + self._head.count("\n", 0, len(self._head) - len(self._head.lstrip())), self._document

    def _line_batches(self) -> Iterator[list[NumberedSession]]:
        for lines in self._complete_lines():
            sessions: list[NumberedSession] = []
            for number, line in lines:
                if not line.strip(_BLANK):
                    continue
                try:
                    sessions.append(
                        (number, self._parse(read_json(line.removeprefix(_MARK), self._name, number), number))
                    )
                except InvalidData:
                    if sessions:
                        yield sessions
                    raise
                if len(sessions) == MAX_BATCH:
                    yield sessions
                    sessions = []
            if sessions:
                yield sessions

    def _complete_lines(self) -> Iterator[list[tuple[int, str]]]:
        """The lines that have arrived, each with its number; the last one needs no line feed."""
        number, pending, size = 1, list[str](), 0
        for chunk in chain([self._head], self._chunks):
            *lines, rest = chunk.split("\n")  # not splitlines: a title may contain a line separator (U+2028)
            if lines:
                lines[0] = "".join([*pending, lines[0]])
                yield list(enumerate(lines, number))
                number, pending, size = number + len(lines), [], 0
            pending.append(rest)
            size += len(rest)
            if size > MAX_LINE:
                raise _too_long(self._name, number)
        yield [(number, "".join(pending))]

    def _parse(self, entry: Any, line: int) -> Session:
        return parse_session(entry, file=self._name, row=line)


def _is_whole(line: str, name: str, number: int) -> bool:
    """Whether a line is a JSON value by itself, rather than the beginning of one.

    Raises:
        InvalidData: it is neither.
    """
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        if error.pos >= len(line.rstrip()):
            return False
        read_json(line, name, number)  # raises
    except (RecursionError, ValueError):
        read_json(line, name, number)  # raises
    return True


def _entry_lines(text: str, entries: int) -> Iterator[int]:
    """The line on which each entry of a JSON list starts; `text` must be a valid one."""
    counted, line = 0, 1
    end = text.index("[") + 1
    for _ in range(entries):
        start = _BETWEEN_ENTRIES.match(text, end).end()  # type: ignore[union-attr]  # it matches an empty text, too
        counted, line = start, line + text.count("\n", counted, start)
        yield line
        _, end = _DECODER.raw_decode(text, start)


def _too_long(name: str, line: int) -> InvalidData:
    problem = f"a line of more than {MAX_LINE / 2**20:.0f} MB; expected one session a line"
    return InvalidData(problem, file=name, row=line)
