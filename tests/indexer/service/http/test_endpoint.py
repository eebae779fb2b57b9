"""Handlers as ASGI applications: whole bodies in, whole replies out, and nothing for a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from indexer.service.http.endpoint import Call, Endpoint, Handler, Reply


async def echo(call: Call) -> Reply:
    return Reply(call.body, headers=((b"x-test", b"1"),))


def ask(handler: Handler, messages: Iterable[dict[str, Any]], limit: float = 30.0) -> list[dict[str, Any]]:
    """What a handler's endpoint sends when it receives these messages, and then nothing more."""
    coming, sent = iter(messages), list[dict[str, Any]]()

    async def receive() -> Any:
        message = next(coming, None)
        return message if message is not None else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await asyncio.wait_for(Endpoint(handler)({"type": "http"}, receive, send), limit)

    asyncio.run(run())
    return sent


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize("parts", [[part(b"abc", more=False)], [part(b"ab", more=True), part(b"c", more=False)]])
def test_a_body_is_whole_however_it_comes(parts: list[dict[str, Any]]) -> None:
    start, body = ask(echo, parts)
    assert body["body"] == b"abc"
    assert start["status"] == 200
    assert {(b"content-length", b"3"), (b"content-type", b"application/json"), (b"x-test", b"1")} <= {*start["headers"]}


def test_a_body_that_ends_too_early_reaches_no_handler() -> None:
    async def never(call: Call) -> Reply:
        pytest.fail("it was called")

    with pytest.raises(ClientDisconnect):
        ask(never, [part(b"ab", more=True), GONE])


def test_a_handler_is_cancelled_when_its_client_hangs_up() -> None:
    ended = []

    async def wait(call: Call) -> Reply:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        raise AssertionError

    with pytest.raises(ClientDisconnect):
        ask(wait, [part(b"", more=False), GONE])
    assert ended == [True]


def test_what_a_handler_raises_is_for_the_middleware() -> None:
    async def fail(call: Call) -> Reply:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(fail, [part(b"", more=False)])
