"""Where lines of the log go: a file, a terminal, or a pipe that nobody may be reading."""

from __future__ import annotations

import os
import select
from collections import deque
from typing import TextIO

# A pipe that takes anything takes this much at once, and does not mix it with what other processes write.
_PIECE = select.PIPE_BUF


class LogOutput:
    """Writes lines only as far as the stream takes them now.

    Several processes may write to the same stream: as long as a line is shorter than `_PIECE`, it stays whole.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._descriptor = stream, _descriptor_of(stream)
        self._rest = b""  # of a piece of which some was written

    def write(self, lines: deque[bytes], seconds: float) -> bool:
        """Write lines and take them out of the queue; whether all were written.

        What cannot be written ever, as the disk is full or the reader has gone, counts as written.

        Args:
            seconds: for which a stream that takes nothing is waited for.
        """
        while piece := self._rest or _next_piece(lines):
            self._rest = piece
            if not self._is_writable(seconds):
                return False
            self._rest = piece[self._send(piece) :]
        return True

    def _is_writable(self, seconds: float) -> bool:
        if self._descriptor is None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(1_000 * seconds))

    def _send(self, piece: bytes) -> int:
        """How many bytes were written, or are lost."""
        try:
            if self._descriptor is not None:
                return os.write(self._descriptor, piece[:_PIECE])
            self._stream.write(piece.decode())
        except (OSError, ValueError):  # a full disk or a closed stream is no reason to stop
            pass
        return len(piece)


def _next_piece(lines: deque[bytes]) -> bytes:
    """As many lines as fit, or one that does not."""
    taken, size = list[bytes](), 0
    while lines and (not taken or size + len(lines[0]) <= _PIECE):
        taken.append(line := lines.popleft())
        size += len(line)
    return b"".join(taken)


def _descriptor_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # as of io.StringIO
        return None
