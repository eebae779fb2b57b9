"""How many files, connections among them, this process may have open."""

from __future__ import annotations

import resource

# A version's files, libraries, the log, Redis.
RESERVED = 256


def allow_open_files(number: int) -> int:
    """Ask the system for so many, and return how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return number
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
