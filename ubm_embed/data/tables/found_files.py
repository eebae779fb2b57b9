"""The files that a path stands for, and those among them that are not read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ubm_embed.data.tables.table_kinds import BINARY_KINDS, EXPECTED, kind_or_none
from ubm_embed.errors import InvalidData, NotFound

_HIDDEN = (".", "_")


@dataclass
class FoundFiles:
    """Files of tables.

    Attributes:
        files: those to read, in order.
        left_out: why others are not read, by their paths.
    """

    files: list[Path] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_files(paths: Iterable[str | Path], *, mixed: bool = False) -> FoundFiles:
    """The files that the paths stand for, see `table_files`.

    A file that occurs again, be it through a link, is left out, as what is in it would count twice. So are files of
    text without a byte beside others in a folder: programs that write in parallel leave one for each worker that had
    no rows.

    Raises:
        NotFound, InvalidData: as `table_files`.
    """
    found, first = FoundFiles(), dict[Path, Path]()
    for path in paths:
        for file in _tables_of(Path(path), found, mixed=mixed):
            before = first.setdefault(file.resolve(), file)
            if before is file:
                found.files.append(file)
            else:
                found.left_out[str(file)] = "given twice" if before == file else f"the same file as {before}"
    return found


def table_files(path: str | Path, *, mixed: bool = False) -> list[Path]:
    """The files that `path` stands for: itself, or those in the folder and its folders, by path.

    Left out are files whose name or folder begins with `.` or `_`, those that are no tables, empty files of text beside
    others, and links to a file that is among them.

    Args:
        mixed: whether there may be files of several kinds.

    Raises:
        NotFound: no such path.
        InvalidData: a folder without tables or, unless `mixed`, with several kinds of them.
    """
    return find_files([path], mixed=mixed).files


def _tables_of(path: Path, found: FoundFiles, *, mixed: bool) -> list[Path]:
    if not path.exists():
        raise NotFound(f"no such file: {path}")
    if not path.is_dir():
        return [path]
    kinds = {file: kind for file in sorted(_files_below(path)) if (kind := kind_or_none(file))}
    # An empty file of bytes is no worker's that had no rows, but one that was lost.
    filled = [file for file, kind in kinds.items() if kind in BINARY_KINDS or file.stat().st_size]
    files = filled or list(kinds)
    found.left_out.update((str(file), "empty") for file in kinds.keys() - set(files))
    names = sorted({kinds[file] for file in files})
    if not names or (len(names) > 1 and not mixed):
        raise InvalidData(f"expected files of one kind ({EXPECTED}); found {' and '.join(names) or 'none'}", file=path)
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder that contains it
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        yield from (file for name in names if not name.startswith(_HIDDEN) and (file := Path(parent, name)).is_file())
