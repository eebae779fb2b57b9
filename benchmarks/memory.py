"""The memory of this process."""

from __future__ import annotations

import re
import resource
from pathlib import Path


def peak_megabytes() -> float:
    """The peak memory of this process."""
    # In a fresh process `getrusage` may report the peak of its parent, so it is only used outside of Linux.
    kilobytes = _status("VmHWM")
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if kilobytes is None else kilobytes
    return round(kilobytes / 1024, 1)


def resident_bytes() -> int:
    """Bytes of this process that are in memory and not backed by a file.

    Raises:
        OSError: this system does not report them.
    """
    kilobytes = _status("RssAnon")
    if kilobytes is None:
        raise OSError("this system does not report the memory of a process")
    return kilobytes * 1024


def _status(name: str) -> int | None:
    file = Path("/proc/self/status")
    match = re.search(rf"{name}:\s+(\d+) kB", file.read_text("ascii")) if file.is_file() else None
    return int(match[1]) if match else None
