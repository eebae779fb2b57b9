"""Requests that are refused, and what is sent instead of an answer."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What is sent instead of an answer.

    Attributes:
        error_type: a word for programs; the message is for people.
    """

    status: int
    error_type: str
    message: str
    headers: Headers = ()

    def body(self, request_id: str) -> bytes:
        """The JSON that is sent."""
        return msgspec.json.encode({"error": self.message, "error_type": self.error_type, "request_id": request_id})


class RequestError(Exception):
    """A request that is refused, by what reads it or by a limit."""

    def __init__(self, status: int, error_type: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.answer = ErrorAnswer(status, error_type, message, headers)


def malformed(message: str) -> RequestError:
    """400: the request cannot be read."""
    return RequestError(400, "malformed_request", message)


def body_too_large(max_body: int) -> RequestError:
    """413."""
    return RequestError(413, "body_too_large", f"the body is too large; at most {max_body:,} bytes are read")


def body_encoded() -> RequestError:
    """415: what a body unpacks to has no bound that could be checked before it is unpacked."""
    return RequestError(415, "unsupported_encoding", "expected a body that is not compressed, without Content-Encoding")


def retry_after(seconds: int) -> Headers:
    """The header that says when a request may come again."""
    return ((b"retry-after", b"%d" % seconds),)
