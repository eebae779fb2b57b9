"""What workers and the keeper of their sessions say to each other, in frames: a length, then MessagePack."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import msgspec

from indexer.service.sessions.event import Event
from indexer.service.sessions.session_store import ShownAnswer

# Far more than the events of a request, whose body is smaller.
MAX_FRAME = 16 << 20
_LENGTH_BYTES = 4


class AskSession(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answered by the record of the session, which the worker reads: `bytes | None`."""

    session_id: str


class AddEvents(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answered by `Added`."""

    session_id: str
    events: tuple[Event, ...]


class AddAnswer(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answered by None."""

    session_id: str
    answer: ShownAnswer


class AskCounts(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answered by `dict[str, int]`."""


class AskGauges(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answered by `dict[str, int]`."""


Request: TypeAlias = AskSession | AddEvents | AddAnswer | AskCounts | AskGauges

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder[Request](Request).decode


def framed(message: Any) -> bytes:
    """A message as it is sent."""
    body = encode(message)
    return len(body).to_bytes(_LENGTH_BYTES) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next message.

    Raises:
        EOFError: the other side closed the connection.
        ConnectionError: it did so within a message, or sent something else.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
        if length > MAX_FRAME:
            raise ConnectionError(f"a message of {length:,} bytes; at most {MAX_FRAME:,} were expected")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionError("the connection was closed within a message") from None
        raise EOFError from None
