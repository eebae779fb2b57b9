"""What a client is told where no application speaks; most of it before its connection is closed."""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from indexer.service.http.errors import ErrorAnswer, retry_after
from indexer.service.http.security_headers import security_headers

_HEADERS = b"".join(
    b"%b: %b\r\n" % header for header in ((b"content-type", b"application/json"), *security_headers("/v1"))
)


class Refusal(Exception):  # noqa: N818 - says what happens
    """The end of a connection.

    Attributes:
        reason: a word for the log and metrics.
        answer: for the client, if its turn has come.
    """

    def __init__(self, reason: str, status: int, error_type: str, message: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = ErrorAnswer(status, error_type, message, retry_after(1) if status == 429 else ())


def response(answer: ErrorAnswer, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An error as it is sent.

    Args:
        headers: besides those of the answer, and those that every error has.
    """
    body = answer.body(request_id)
    lines = [b"%b: %b\r\n" % header for header in (*headers, *answer.headers)]
    own = (_HEADERS, b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (request_id.encode(), len(body)))
    return b"".join([STATUS_LINE[answer.status], *lines, *own, body])


def malformed() -> Refusal:
    """400: the parser does not understand it."""
    return Refusal("malformed", 400, "malformed_request", "not HTTP/1.1 as this server reads it")


def too_many_waiting() -> Refusal:
    """400: a client that sends requests without reading the answers."""
    return Refusal("pipelined", 400, "malformed_request", "too many requests ahead of their answers on one connection")


def too_many_connections() -> Refusal:
    """429."""
    return Refusal("connections", 429, "overloaded", "too many connections; ask again soon")


def too_slow(part: str, seconds: float) -> Refusal:
    """408: the headers or the body did not come in time."""
    return Refusal(f"slow_{part}", 408, "request_timeout", f"the {part} did not come within {seconds:g} s")


def target_too_long(limit: int) -> Refusal:
    """414."""
    return Refusal("url_too_long", 414, "url_too_long", f"the URL is too long; at most {limit:,} bytes are read")


def headers_too_large(limit: int) -> Refusal:
    """431: their bytes."""
    message = f"the headers are too large; at most {limit:,} bytes are read"
    return Refusal("headers_too_large", 431, "headers_too_large", message)


def too_many_headers(limit: int) -> Refusal:
    """431: their number."""
    return Refusal("too_many_headers", 431, "headers_too_large", f"expected at most {limit} headers")


def message_too_large(limit: int) -> Refusal:
    """413: what a request sends around its body, such as chunk sizes and trailers, counts here."""
    return Refusal(
        "body_too_large", 413, "body_too_large", f"the request is too large; at most {limit:,} bytes are read"
    )
