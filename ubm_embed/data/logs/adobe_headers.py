"""The names of the columns of an Adobe data feed, wherever a delivery has them beside the hits.

https://experienceleague.adobe.com/en/docs/analytics/export/analytics-data-feed/data-feed-contents/datafeeds-contents
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from ubm_embed.errors import InvalidData

HEADERS = "column_headers.tsv"
# Explanations of the values come unpacked, in a folder of their own or as `SUITE_2024-03-01-lookup_data.tar.gz`.
LOOKUP_DATA = "lookup_data"
_MAX_LINE_BYTES = 1 << 20
_MAX_ARCHIVE_BYTES = 1 << 30  # unpacked; those of real feeds have some ten megabytes


def column_headers(file: Path) -> tuple[str, ...]:
    """The names of the columns of a file of hits: from `HEADERS` beside it, or in lookup data beside it.

    Raises:
        InvalidData: none, unreadable ones, or lookup data of several days of which it is not clear which is meant.
    """
    beside = file.parent / HEADERS
    places = [beside] if beside.is_file() else _of_same_date(file, sorted(file.parent.glob(f"*{LOOKUP_DATA}*")))
    try:
        headers = {names for place in places if (names := _read(place))}
    except (OSError, EOFError, zlib.error, tarfile.TarError, UnicodeDecodeError):
        raise InvalidData(f"unreadable {HEADERS} beside it, which names its columns", file=file) from None
    if len(headers) > 1:
        found = ", ".join(place.name for place in places)
        raise InvalidData(f"expected one {HEADERS} beside it; found different ones in {found}", file=file)
    if not headers:
        raise InvalidData(
            f"no {HEADERS} beside it, in a folder {LOOKUP_DATA} or in *-{LOOKUP_DATA}.tar.gz; it names the columns",
            file=file,
        )
    return headers.pop()


def _of_same_date(file: Path, places: list[Path]) -> list[Path]:
    """Those of the day that the file's name has, or all: `01-suite_20240301.tsv.gz`, `suite_2024-03-01-lookup_data`."""
    same = [place for place in places if _dates(place.name) & _dates(file.name)]
    return same or places


def _dates(name: str) -> set[str]:
    return {"".join(date) for date in re.findall(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)(?!\d)", name)}


def _read(place: Path) -> tuple[str, ...]:
    """The names in a file, a folder or an archive; empty without any."""
    if place.is_dir():
        return _read(place / HEADERS) if (place / HEADERS).is_file() else ()
    if place.name == HEADERS:
        with place.open("rb") as lines:
            return _names(lines)
    with tarfile.open(place) as archive:
        for member in _within_bounds(archive):
            if Path(member.name).name == HEADERS and (content := archive.extractfile(member)):
                return _names(content)
    return ()


def _within_bounds(archive: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
    for member in archive:
        if member.offset > _MAX_ARCHIVE_BYTES:
            raise tarfile.ReadError("too large")
        yield member


def _names(lines: IO[bytes]) -> tuple[str, ...]:
    line = lines.readline(_MAX_LINE_BYTES).decode("utf-8-sig").rstrip("\r\n")
    return tuple(line.split("\t")) if line else ()
