"""One kept-alive HTTP/1.1 connection of the load generator: bytes out, bytes in, nothing decoded that need not be."""

from __future__ import annotations

import errno
import os
import re
import socket

_READ_BYTES = 1 << 18
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class ConnectionLostError(Exception):
    """The server closed the connection, or sent something other than an HTTP response."""


class Connection:
    """A connection with at most one request under way.

    Attributes:
        answers: how many requests it has brought home.
        keeps_alive: whether it may take another request.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, host: str, port: int) -> None:
        self.answers, self.keeps_alive = 0, True
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = self._socket.connect_ex((host, port))
        if error not in (0, errno.EINPROGRESS):
            self._socket.close()
            raise OSError(error, os.strerror(error))
        self._unsent, self._buffer, self._end = b"", b"", 0

    def fileno(self) -> int:
        """The socket's number, as `select` needs it."""
        return self._socket.fileno()

    def send(self, request: bytes = b"") -> bool:
        """Send a request, or go on with it; whether all of it is sent. It is not while the server does not accept.

        Raises:
            ConnectionLostError: it cannot be sent.
        """
        self._unsent += request
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ConnectionLostError(str(error)) from None
        self._unsent = self._unsent[sent:]
        return not self._unsent

    def receive(self) -> bytes | None:
        """What has come: an answer, head and body, if it is complete.

        Raises:
            ConnectionLostError: there will be no answer.
        """
        try:
            received = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ConnectionLostError(str(error)) from None
        if not received:
            raise ConnectionLostError("closed by the server")
        self._buffer += received
        if not self._end and not self._read_head():
            return None
        return self._take() if len(self._buffer) >= self._end else None

    def _read_head(self) -> bool:
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return False
        length = _LENGTH.search(self._buffer, 0, head_end)
        if length is None:
            raise ConnectionLostError("an answer without its length")
        self.keeps_alive = _CLOSE.search(self._buffer, 0, head_end) is None
        self._end = head_end + len(_HEAD_END) + int(length[1])
        return True

    def _take(self) -> bytes:
        answer, self._buffer, self._end = self._buffer[: self._end], self._buffer[self._end :], 0
        self.answers += 1
        return answer

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def status_of(answer: bytes) -> int:
    """The status in an answer's first line, `HTTP/1.1 200 OK`."""
    return int(answer[9:12])


def body_of(answer: bytes) -> bytes:
    """An answer's body."""
    return answer.partition(_HEAD_END)[2]


def header_of(answer: bytes, name: str) -> str | None:
    """The value of a header, if the answer has it."""
    found = re.search(rb"\r\n%b: *([^\r]*)" % re.escape(name.encode()), answer.partition(_HEAD_END)[0], re.IGNORECASE)
    return found[1].decode("latin-1") if found else None


def post(path: str, body: bytes) -> bytes:
    """A request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head.encode("ascii"), len(body), body)
