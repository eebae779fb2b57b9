"""Standard input, output and error, which may be closed when a service starts."""

from __future__ import annotations

import os
import sys


def open_standard_files() -> None:
    """Open those that are closed as the null device.

    Otherwise the next socket or file would become, say, standard error, and what a library prints would be sent to a
    client.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
