"""The JSON object in a file of our own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ubm_embed.data.tables.text_stream import utf8_chunks
from ubm_embed.errors import InvalidData


def read_json_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InvalidData: not JSON, or something other than an object; names the file.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
    except UnicodeDecodeError:
        raise InvalidData("not JSON: not UTF-8 text", file=file) from None
    except RecursionError:
        raise InvalidData("not JSON that can be read: nested too deeply", file=file) from None
    except ValueError as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(document, dict):
        raise InvalidData("expected a JSON object", file=file)
    return document


def open_text(file: Path) -> TextIO:
    """The file as UTF-8 text without a byte order mark, decompressed by its content."""
    return io.TextIOWrapper(io.BufferedReader(_Chunks(utf8_chunks(file))), encoding="utf-8")


class _Chunks(io.RawIOBase):
    """The bytes of an iterator as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._chunks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
