"""A bearer key and what it allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Role(IntEnum):
    """What a key allows; each role includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Key:
    """A bearer key, without the key itself.

    Attributes:
        name: for people and the log.
        digest: SHA-256 of the key.
        rate: sessions a second that it may ask about; None for no limit.
        burst: sessions that it may ask about at once after a pause.
    """

    name: str
    role: Role
    digest: bytes = field(repr=False)
    rate: float | None = None
    burst: float = 1.0
