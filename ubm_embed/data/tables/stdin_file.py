"""Standard input as a file, since tables are read more than once."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ubm_embed.errors import InvalidData

STDIN = Path("-")
_NAME = "stdin"
_CHUNK_BYTES = 1 << 20


@contextmanager
def spooled_stdin(
    sources: Sequence[str | Path], max_bytes: int | None = None, *, may_be_empty: bool = False
) -> Iterator[list[Path]]:
    """The sources, with a temporary copy of standard input for the one that is `-`; it is deleted in the end.

    The copy is named `stdin`: errors say so, and its content decides what kind of table it is.

    Args:
        max_bytes: of standard input; None for as many as come.
        may_be_empty: whether it is no error if nothing comes.

    Raises:
        InvalidData: `-` is given twice, or nothing comes from it, or more than `max_bytes`.
        OSError: the copy does not fit on the disk.
    """
    paths = [Path(source) for source in sources]
    if paths.count(STDIN) > 1:
        raise InvalidData("standard input (-) can be read only once")
    if STDIN not in paths:
        yield paths
        return
    with tempfile.TemporaryDirectory(prefix="ubm-embed-") as folder:
        copy = Path(folder) / _NAME
        with copy.open("wb") as file:
            _copy(file, max_bytes)
        if copy.stat().st_size == 0 and not may_be_empty:
            raise InvalidData("empty; expected a table", file=_NAME)
        try:
            yield [copy if path == STDIN else path for path in paths]
        except InvalidData as error:
            if str(copy) not in str(error):
                raise
            problem = error.problem.replace(str(copy), _NAME)
            place = _NAME if str(error.file) == str(copy) else error.file
            raise InvalidData(problem, file=place, row=error.row, field=error.field) from None


def _copy(file: BinaryIO, max_bytes: int | None) -> None:
    while chunk := sys.stdin.buffer.read(_CHUNK_BYTES):
        file.write(chunk)
        if max_bytes is not None and file.tell() > max_bytes:
            raise InvalidData(f"larger than {max_bytes / 1e6:,.0f} MB; give it in several parts", file=_NAME)


def without_copy(text: str, sources: Sequence[str | Path], paths: Sequence[Path]) -> str:
    """A text that names files, with `stdin` in place of the temporary copy.

    Args:
        sources: as they were given to `spooled_stdin`.
        paths: what it made of them.
    """
    for source, path in zip(sources, paths, strict=True):
        if Path(source) == STDIN:
            text = text.replace(str(path), _NAME)
    return text
