"""Random bytes for ids, many from one call of the system.

Each call lets another thread have the interpreter, and the event loop waits up to five milliseconds to get it back.
"""

from __future__ import annotations

import os

_AT_ONCE = 4_096


class RandomBytes:
    """Gives random bytes that nobody can guess, to one thread. A process that forks shares none with its child."""

    def __init__(self) -> None:
        self._bytes, self._used = b"", 0
        os.register_at_fork(after_in_child=self._forget)

    def take(self, count: int) -> bytes:
        """Bytes that were not taken before, at most `_AT_ONCE`."""
        if self._used + count > len(self._bytes):
            self._bytes, self._used = os.urandom(_AT_ONCE), 0
        self._used += count
        return self._bytes[self._used - count : self._used]

    def _forget(self) -> None:
        self._bytes = b""


random_bytes = RandomBytes()
