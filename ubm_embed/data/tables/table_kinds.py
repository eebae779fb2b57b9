"""What kind of table a file holds: by its suffix, and by its content where the suffix does not say."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from ubm_embed.data.tables.text_stream import BrokenTextError, utf8_chunks
from ubm_embed.errors import InvalidData

EXPECTED = "Parquet, CSV, JSON, JSON Lines, XML or Excel"

_BY_SUFFIX = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".tab": "CSV",
    ".psv": "CSV",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON",
    ".xml": "XML",
    ".xlsx": "Excel",
}
_COMPRESSED = (".gz", ".zst", ".zstd")
BINARY_KINDS = ("Parquet", "Excel")
_TEXT_KINDS = ("CSV", "JSON", "JSON Lines", "XML")
# Suffixes under which any text is found, among them that of Segment's `TIME.ID.1.1.1.gz` and none at all.
_ANY_TEXT = ("", ".dat", ".txt", ".log", ".data", ".out", ".inter", ".item")
_LOOKED_AT = 1 << 16
_DECODER = json.JSONDecoder()
# What no header of CSV begins with.
_NO_HEADER = {re.compile(r'\{\s*"'): "JSON Lines", re.compile(r"\[\s*\{"): "JSON", re.compile(r"<\?xml|<rss"): "XML"}
_MAGIC = {b"PAR1": "Parquet", b"PK\x03\x04": "a ZIP archive, as Excel's files are"}


def table_kind(file: Path) -> str:
    """`Parquet`, `CSV`, `JSON`, `JSON Lines`, `XML` or `Excel`: by the suffix, else by the beginning of the file.

    Raises:
        InvalidData: neither says.
    """
    kind = kind_or_none(file)
    if kind is None:
        suffix = f"unknown suffix {''.join(file.suffixes)!r} and" if file.suffix else "no suffix, and"
        raise InvalidData(f"{suffix} content that is not a table; expected {EXPECTED}", file=file)
    return kind


def kind_or_none(file: Path) -> str | None:
    """As `table_kind`, but None where neither says."""
    name = file.name.lower()
    plain = next((name.removesuffix(suffix) for suffix in _COMPRESSED if name.endswith(suffix)), name)
    kind = _BY_SUFFIX.get(Path(plain).suffix)
    if kind is None:
        return _by_content(file, Path(plain).suffix)
    return kind if kind in _TEXT_KINDS or plain == name else None


def holds_elements(file: Path) -> bool:
    """Whether a JSON file is an array, or has objects that go over several lines or follow one another in a line.

    Raises:
        InvalidData: only white space, or not readable.
    """
    beginning = _beginning(file)
    if not beginning:
        raise InvalidData("empty; expected JSON", file=file)
    return _in_elements(beginning)


def require_no_other(file: Path, kind: str) -> None:
    """Raise `InvalidData` for a file that holds something else than its name says: errors in it would mislead."""
    with file.open("rb") as stream:
        held = _MAGIC.get(stream.read(4))
    if held is None and kind == "CSV":
        beginning = _beginning(file)
        held = next((other for pattern, other in _NO_HEADER.items() if pattern.match(beginning)), None)
    if held is not None and kind not in held:
        raise InvalidData(f"expected {kind}, as its name says, found {held}", file=file)


def _in_elements(beginning: str) -> bool:
    if beginning.startswith("["):
        return True
    try:
        _, end = _DECODER.raw_decode(beginning)
    except json.JSONDecodeError as error:  # of a line, or of the beginning of an object that goes on
        return "\n" in beginning[: error.pos]
    except (ValueError, RecursionError):
        return False
    return "\n" in beginning[:end] or beginning[end:].lstrip(" \t").startswith("{")


def _by_content(file: Path, suffix: str) -> str | None:
    with file.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "Parquet"
    beginning = _beginning(file)
    if beginning.startswith("{"):
        return "JSON" if _in_elements(beginning) else "JSON Lines"
    if beginning[:1] in ("[", "<"):
        return "JSON" if beginning.startswith("[") else "XML"
    line = beginning.partition("\n")[0]
    is_text = "\0" not in line and any(separator in line for separator in (*",;\t|", "::"))
    return "CSV" if is_text and (suffix in _ANY_TEXT or suffix[1:].isdigit()) else None


def _beginning(file: Path) -> str:
    """The text at the beginning, without white space before it."""
    try:
        for chunk in itertools.chain(_texts(file), [""]):
            if text := chunk.lstrip():
                return text
    except BrokenTextError:
        pass
    return ""


def _texts(file: Path) -> Iterator[str]:
    for chunk in utf8_chunks(file, _LOOKED_AT):
        yield chunk.decode("utf-8", "replace")
