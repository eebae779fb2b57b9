"""The text of a file or of stdin, read whole."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

from ubm_embed.errors import InvalidData, NotFound

MAX_BYTES = 64 * 2**20
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
    name, data = source_name(source), _read(source)
    if len(data) > MAX_BYTES:
        raise InvalidData(f"larger than {MAX_BYTES / 2**20:.0f} MB; give it in several parts", file=name)
    encoding = next((encoding for mark, encoding in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        written = encoding.removesuffix("-sig").upper()
        raise InvalidData(f"not {written} text: {error.reason} at byte {error.start}", file=name) from None


def _read(source: str) -> bytes:
    """At most one byte more than may be read."""
    if source == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    # Not `is_file`: a shell's <(command) is a pipe.
    if not Path(source).exists() or Path(source).is_dir():
        raise NotFound(f"no file at {source}")
    with Path(source).open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def source_name(source: str) -> str:
    """The name of a source in an error."""
    return "stdin" if source == "-" else source
