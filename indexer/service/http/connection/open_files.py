"""How many files, connections among them, this process may have open."""

from __future__ import annotations

import resource

# A version's files, libraries, the log, Redis.
RESERVED = 256


def allow_open_files(number: int) -> int:
    """Ask the system for this number, and return how many of them it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return number
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
