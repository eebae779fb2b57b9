"""Standard input as a file, since tables are read more than once."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ubm_embed.errors import InvalidData

STDIN = Path("-")


@contextmanager
def spooled_stdin(sources: Sequence[str | Path]) -> Iterator[list[Path]]:
    """The sources, with a temporary copy of standard input for the one that is `-`; it is deleted in the end.

    The copy is named `stdin`: errors say so, and its content decides what kind of table it is.

    Raises:
        InvalidData: `-` is given twice.
        OSError: the copy does not fit on the disk.
    """
    paths = [Path(source) for source in sources]
    if paths.count(STDIN) > 1:
        raise InvalidData("standard input (-) can be read only once")
    if STDIN not in paths:
        yield paths
        return
    with tempfile.TemporaryDirectory(prefix="ubm-embed-") as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield [copy if path == STDIN else path for path in paths]
        except InvalidData as error:
            if error.file is not None and Path(error.file) == copy:
                raise InvalidData(error.problem, file="stdin", row=error.row, field=error.field) from None
            raise
