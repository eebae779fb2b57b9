"""The id of a request: the client's own, or random."""

from __future__ import annotations

import re

from indexer.service.http.random_bytes import random_bytes

HEADER = b"x-request-id"
_VALID = re.compile(rb"[A-Za-z0-9_-]{1,64}")


def request_id(sent: bytes) -> str:
    """What the client sent as the header, if it is fit to be one; else 96 random bits."""
    return sent.decode() if _VALID.fullmatch(sent) else random_bytes.take(12).hex()
