"""The text of a file as UTF-8, whatever it is compressed with and encoded in, a chunk at a time."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from ubm_embed.errors import InvalidData

# Small enough for the caches of a processor, large enough that polars parses in parallel.
CHUNK_BYTES = 2 << 20
# Longer than any real record; an unclosed quote would otherwise collect the rest of the file.
MAX_RECORD_BYTES = 64 << 20

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
COMPRESSED = (_GZIP, _ZSTD)  # how a compressed file begins
# The longer marks first: that of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BrokenTextError(Exception):
    """Text that cannot be read any further; readers, which count rows, turn it into an error that names the row."""


def byte_chunks(file: Path, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a file, decompressed if it begins like gzip or Zstandard, about `size` at a time.

    Raises:
        InvalidData: a damaged or truncated compressed file.
    """
    kind = "compressed"
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            kind = "gzip" if magic.startswith(_GZIP) else "Zstandard"
            source: Any = stream
            if magic.startswith(_GZIP):
                source = gzip.GzipFile(fileobj=stream)
            elif magic == _ZSTD:
                source = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
            while chunk := cast(BinaryIO, source).read(size):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
        raise InvalidData(f"not a complete {kind} file: {error}", file=file) from None
    except OSError as error:
        if error.errno is not None:  # of the system, such as a file that may not be read
            raise InvalidData(f"not readable: {error.strerror}", file=file) from None
        raise InvalidData(f"not a complete {kind} file: {error}", file=file) from None


def utf8_chunks(file: Path, size: int = CHUNK_BYTES, encoding: str | None = None) -> Iterator[bytes]:
    """The text of a file as UTF-8 without a byte order mark.

    Text that is UTF-8 already is passed on as it is: whether it is valid is for the reader to check.

    Args:
        size: bytes to read at a time.
        encoding: of a file without a byte order mark; None is UTF-8.

    Raises:
        InvalidData: damaged compression, or an unknown encoding.
        BrokenTextError: after the text before it.
    """
    chunks = byte_chunks(file, size)
    first = next(chunks, b"")
    while 0 < len(first) < 4 and (more := next(chunks, b"")):
        first += more
    mark, marked = next(((mark, name) for mark, name in _BYTE_ORDER_MARKS if first.startswith(mark)), (b"", None))
    name = _codec(marked or encoding or "utf-8", file)
    if name == "utf-8":
        yield from _non_empty(first.removeprefix(mark), chunks)
    else:
        yield from _transcoded(first, chunks, name)


def is_utf8(file: Path) -> bool:
    """Whether a file is UTF-8 to its end, or has a byte order mark.

    Raises:
        InvalidData: damaged compression.
    """
    decoder, first = codecs.getincrementaldecoder("utf-8")(), True
    try:
        for chunk in byte_chunks(file):
            if first and chunk.startswith(tuple(mark for mark, _ in _BYTE_ORDER_MARKS)):
                return True
            decoder.decode(chunk)
            first = False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _codec(encoding: str, file: Path) -> str:
    try:
        codec = codecs.lookup(encoding)
        "".encode(encoding)  # refuses codecs that are not of text
    except LookupError:
        raise InvalidData(f"unknown encoding {encoding!r}", file=file) from None
    return "utf-8" if codec.name == "utf-8-sig" else codec.name


def _non_empty(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from chunks


def _transcoded(first: bytes, chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    chunk: bytes | None = first
    while chunk is not None:
        following = next(chunks, None)
        try:
            text = decoder.decode(chunk, final=following is None)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(error.encoding, "ignore")
            yield from _non_empty(before.encode(), iter(()))
            raise BrokenTextError(f"not {encoding} text: {error.reason}") from None
        except UnicodeError as error:
            raise BrokenTextError(f"not {encoding} text: {error}") from None
        yield from _non_empty(text.encode("utf-8", "replace"), iter(()))
        chunk = following
