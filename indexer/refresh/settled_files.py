"""Whether the files of a catalogue are complete: a feed that is still being written is not to be taken for the shop.

Only files of lines can be cut short and still be read; whatever is compressed, and every other kind, has an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from time import sleep, time
from typing import TypeAlias

from ubm_embed.data.tables.table_files import table_kind
from ubm_embed.data.tables.text_stream import COMPRESSED
from ubm_embed.errors import Conflict

# A file that was written so recently is looked at a second time, and so is one without a newline at its end.
_RECENT_SECONDS = 2.0
_WAIT_SECONDS = 1.0
_LINES = ("CSV", "JSON", "JSON Lines")

# Size and time of the last change of each file.
Stamps: TypeAlias = tuple[tuple[int, int], ...]


def stamps(files: Iterable[Path]) -> Stamps:
    """The state of files, to be compared with a later one."""
    return tuple((status.st_size, status.st_mtime_ns) for status in (file.stat() for file in files))


def require_settled(files: Sequence[Path]) -> Stamps:
    """The state of files, of which none grows while it is looked at; takes a second if one was just written.

    Raises:
        Conflict: one of them is still being written.
    """
    doubtful = [file for file in files if _has_lines(file) and (_is_recent(file) or not ends(file))]
    if doubtful:
        before = stamps(doubtful)
        sleep(_WAIT_SECONDS)
        require_unchanged(doubtful, before, "is still being written")
    return stamps(files)


def require_unchanged(files: Sequence[Path], before: Stamps, problem: str = "changed while it was read") -> None:
    """Raise `Conflict` if a file is not in the state `before`."""
    for file, then, now in zip(files, before, stamps(files), strict=True):
        if now != then:
            grew = f" ({then[0]:,} bytes, a moment later {now[0]:,})" if now[0] != then[0] else ""
            raise Conflict(f"{file} {problem}{grew}; run it again once the file is complete")


def cut_short(files: Iterable[Path]) -> list[Path]:
    """The files that may have been cut short: they do not end in a newline."""
    return [file for file in files if _has_lines(file) and not ends(file)]


def ends(file: Path) -> bool:
    """Whether the last character is a newline, or the `]` of a JSON array."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 4))
        last = stream.read().rstrip(b"\0")  # UTF-16 and UTF-32 have zeros after it
    return last.endswith((b"\n", b"\r")) or (last.endswith(b"]") and table_kind(file) == "JSON")


def _has_lines(file: Path) -> bool:
    with file.open("rb") as stream:
        return table_kind(file) in _LINES and not stream.read(4).startswith(COMPRESSED)


def _is_recent(file: Path) -> bool:
    return time() - file.stat().st_mtime < _RECENT_SECONDS
