"""LanceDB's errors as ours."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

import pyarrow as pa

from ubm_embed.errors import InvalidData

_MAX_LENGTH = 300


@contextlib.contextmanager
def translated(file: str) -> Iterator[None]:
    """Translate LanceDB's errors, which report a full disk, a missing version and a damaged file alike, as text.

    Raises:
        OSError: the operating system refused, for example because the disk is full.
        InvalidData: for anything else; names `file`.
    """
    try:
        yield
    except (RuntimeError, ValueError, OverflowError, OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        number = re.search(r"os error (\d+)", str(error))
        if number and int(number[1]) != 2:  # 2 is a missing file, which means that the table is damaged
            raise OSError(int(number[1]), os.strerror(int(number[1])), file) from error
        raise InvalidData(f"LanceDB cannot use it: {sentence_of(error)}", file=file) from error


def sentence_of(error: Exception) -> str:
    """LanceDB's message on one line, without the place in LanceDB's own sources."""
    message = re.sub(r",? \S+\.rs:\d+(:\d+)?", "", " ".join(str(error).split()))
    # The list of valid fields would name our own columns and LanceDB's.
    return re.sub(r"\.? Valid fields are .*", "", message)[:_MAX_LENGTH]
