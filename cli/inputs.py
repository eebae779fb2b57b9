"""The text of a file or of stdin, read whole."""

from __future__ import annotations

import sys
from pathlib import Path

from ubm_embed.errors import InvalidData, NotFound


def read_text(source: str) -> str:
    """The UTF-8 text of a file, or of stdin where `source` is `-`.

    Raises:
        NotFound: no such file.
        InvalidData: not UTF-8.
    """
    if source != "-" and not Path(source).is_file():
        raise NotFound(f"no file at {source}")
    data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(f"not UTF-8 text: {error.reason} at byte {error.start}", file=source_name(source)) from None


def source_name(source: str) -> str:
    """The name of a source in an error."""
    return "stdin" if source == "-" else source
