"""How a process keeps the memory that it has used.

A training step on a CPU allocates and frees the same few hundred megabytes each time. glibc hands such blocks back to
the system at once, and touching them anew costs a page fault for each 4 kB: about a sixth of a step in bfloat16.
"""

from __future__ import annotations

import ctypes
import sys

# Their numbers in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc takes no larger one
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Ask the C library to keep up to 2 GB of freed memory for the next step; whether it could be asked.

    It holds for the whole process. Elsewhere than on Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
