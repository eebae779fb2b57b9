"""A kept session as bytes."""

from __future__ import annotations

import msgspec

from indexer.service.sessions.kept_session import KeptSession

# Raised whenever the fields of what is kept change: records of another format are dropped.
FORMAT = 1


class DamagedRecord(Exception):  # noqa: N818 - says what happened
    """A record that cannot be read: damaged, or of another format."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    format: int
    session: KeptSession


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Record)


def encode(session: KeptSession) -> bytes:
    """The record of a session."""
    return _ENCODER.encode(_Record(FORMAT, session))


def decode(record: bytes) -> KeptSession:
    """The session in a record.

    Raises:
        DamagedRecord: it cannot be read.
    """
    try:
        read = _DECODER.decode(record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DamagedRecord(str(error)) from None
    if read.format != FORMAT:
        raise DamagedRecord(f"its format is {read.format}, not {FORMAT}")
    return read.session
