"""The text of a file or of stdin, whole or as it arrives."""

from __future__ import annotations

import codecs
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ubm_embed.errors import InvalidData, NotFound

# In characters.
MAX_TEXT = 64 * 2**20
_CHUNK_BYTES = 2**18
# UTF-32 first: its mark begins with that of UTF-16. The decoders named here take the mark off.
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(source: str) -> str:
    """The text of a file, or of stdin where `source` is `-`: UTF-8, or what a byte order mark says.

    Raises:
        NotFound: no such file.
        InvalidData: larger than 64 MB, or not text.
    """
    parts, size = [], 0
    with open_chunks(source) as chunks:
        for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_TEXT:
                problem = f"larger than {MAX_TEXT / 2**20:.0f} MB; give it in several parts"
                raise InvalidData(problem, file=source_name(source))
    return "".join(parts)


@contextlib.contextmanager
def open_chunks(source: str) -> Iterator[Iterator[str]]:
    """The text of `read_text` in parts, as they arrive: it never waits for more to fill a part.

    Raises:
        NotFound: no such file, or stdin is closed.
        InvalidData: not text, raised once what stands before it has been read.
    """
    if source == "-":
        if sys.stdin is None:
            raise NotFound("stdin is closed: give a file, or a session through a pipe")
        yield _decode(sys.stdin.buffer, source_name(source))
        return
    # Not `is_file`: a shell's <(command) is a pipe.
    if not Path(source).exists() or Path(source).is_dir():
        raise NotFound(f"no file at {source}")
    with Path(source).open("rb") as stream:
        yield _decode(stream, source)


def _decode(stream: Any, name: str) -> Iterator[str]:
    data, taken = _beginning(stream), 0
    encoding = next((encoding for mark, encoding in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    decoder = codecs.getincrementaldecoder(encoding)()
    while True:
        try:
            yield decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode(error.encoding)
            position = taken + len(data) - len(error.object) + error.start
            written = encoding.removesuffix("-sig").upper()
            raise InvalidData(f"not {written} text: {error.reason} at byte {position}", file=name) from None
        if not data:
            return
        taken += len(data)
        data = stream.read1(_CHUNK_BYTES)


def _beginning(stream: Any) -> bytes:
    """The first bytes, enough to recognise a byte order mark."""
    data: bytes = b""
    while any(len(data) < len(mark) and mark.startswith(data) for mark in _ENCODINGS):
        more = stream.read1(_CHUNK_BYTES)
        if not more:
            break
        data += more
    return data


def source_name(source: str) -> str:
    """The name of a source in an error."""
    return "stdin" if source == "-" else source
