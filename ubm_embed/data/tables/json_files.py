"""JSON files, with what polars does not tell: their keys, and the line and column where one is malformed."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from ubm_embed.errors import InvalidData


def read_json_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InvalidData: not JSON, or something other than an object; names the file.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(document, dict):
        raise InvalidData("expected a JSON object", file=file)
    return document


def open_text(file: Path) -> TextIO:
    """The file as UTF-8 text, decompressed if it ends in `.gz`."""
    if file.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.open(file, "rb"), encoding="utf-8")
    return file.open(encoding="utf-8")


def starts_with_array(file: Path) -> bool:
    """Whether the first character that is not white space is `[`.

    Raises:
        InvalidData: only white space, not UTF-8, or not readable.
    """
    for _, line in _lines(file):
        return line.lstrip().startswith("[")
    raise InvalidData("empty; expected JSON", file=file)


def keys_of_lines(file: Path) -> list[str]:
    """Every key of a file of one JSON object a line, in order of first occurrence. Reads all of it.

    Raises:
        InvalidData: names the line and column of malformed JSON, or the line that is not an object.
    """
    keys: dict[str, None] = {}
    for number, line in _lines(file):
        keys.update(dict.fromkeys(_object(_loads(line, file, number), file, number)))
    return list(keys)


def lines_of_array(file: Path) -> tuple[list[str], bytes]:
    """The keys and objects of a file that is one JSON array of objects, the objects as JSON Lines.

    Raises:
        InvalidData: names the line and column of malformed JSON, or the 1-based element that is not an object.
    """
    text = "".join(line for _, line in _lines(file, blank=True))
    rows = _loads(text, file)
    keys: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        keys.update(dict.fromkeys(_object(row, file, number)))
    return list(keys), "\n".join(map(json.dumps, rows)).encode()


def _lines(file: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    try:
        with open_text(file) as stream:
            for number, line in enumerate(stream, start=1):
                if blank or line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise InvalidData(f"not UTF-8 text: {error.reason}", file=file) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidData(f"not a complete gzip file: {error}", file=file) from None


def _loads(text: str, file: Path, line: int | None = None) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg} at column {error.colno}"
        raise InvalidData(problem, file=file, row=line or error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file, row=line) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _object(row: Any, file: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InvalidData(f"expected an object, got {json.dumps(row)[:40]}", file=file, row=number)
    return row
