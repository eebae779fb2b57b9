"""Headers that tell a browser what not to do with an answer."""

from __future__ import annotations

Headers = tuple[tuple[bytes, bytes], ...]

_ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# A page of ours: scripts and styles come from this service. Swagger UI sets styles of elements and draws icons as data.
_PAGE = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_ANSWERS: Headers = (
    *_ALWAYS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_OF_PAGES: Headers = (*_ALWAYS, (b"content-security-policy", _PAGE), (b"cache-control", b"no-cache"))


def security_headers(path: str) -> Headers:
    """Those of the answer to a request for a path."""
    return _OF_PAGES if path == "/" or path.startswith("/docs") else _OF_ANSWERS
