"""What LanceDB says when something goes wrong, as errors of ours."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

import pyarrow as pa

from ubm_embed.errors import InvalidData


@contextlib.contextmanager
def translated(file: str) -> Iterator[None]:
    """LanceDB reports a full disk, a missing version and a damaged file alike: as text.

    Raises:
        OSError: the system said why, such as a full disk.
        InvalidData: anything else; names `file`.
    """
    try:
        yield
    except (RuntimeError, ValueError, OverflowError, OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        number = re.search(r"os error (\d+)", str(error))
        if number and int(number[1]) != 2:  # a file that is not there means that the table is damaged
            raise OSError(int(number[1]), os.strerror(int(number[1])), file) from error
        raise InvalidData(f"LanceDB cannot use it: {sentence_of(error)}", file=file) from error


def sentence_of(error: Exception) -> str:
    """What LanceDB says, on one line and without where in its own sources it says so."""
    said = re.sub(r",? \S+\.rs:\d+(:\d+)?", "", " ".join(str(error).split()))
    return re.sub(r"\.? Valid fields are .*", "", said)[:300]  # columns of ours and of LanceDB's among them
