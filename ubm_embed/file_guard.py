"""Files that are read by mapping them, watched for a change in place.

The files of models and versions are written aside and renamed, never changed in place, and one that is removed stays
readable while it is mapped. One that is cut short would end the process with a signal when the lost part is read.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from pathlib import Path

from ubm_embed.errors import InvalidData


class FileGuard:
    """Remembers how long some files are.

    Raises:
        FileNotFoundError: one is missing.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        opened = [(file, os.open(file, os.O_RDONLY | os.O_CLOEXEC)) for file in dict.fromkeys(files)]
        self._watched = [(file, descriptor, os.fstat(descriptor).st_size) for file, descriptor in opened]
        self._finalizer = weakref.finalize(self, _close, [descriptor for _, descriptor in opened])

    def require_unchanged(self) -> None:
        """Raise `InvalidData` if a file has another length than at first: some microseconds, so ask before each use."""
        for file, descriptor, expected in self._watched:
            size = os.fstat(descriptor).st_size
            if size != expected:
                problem = f"changed while it was in use: {size:,} bytes, {expected:,} when it was opened"
                raise InvalidData(f"{problem}; open it again, after ubm-embed doctor if it is a store's", file=file)

    def close(self) -> None:
        """Stop watching."""
        self._watched = []
        self._finalizer()


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
