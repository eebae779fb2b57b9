from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from redis import Redis

from indexer.service.sessions.event import Event
from indexer.service.sessions.redis_sessions import RedisSessions
from indexer.service.sessions.session_store import SessionsBusy, SessionsUnavailable, ShownAnswer
from tests.indexer.service.sessions.waiting import available
from ubm_embed.data.session import Action, Interaction

if TYPE_CHECKING:
    from tests.indexer.service.conftest import RedisServer

pytestmark = pytest.mark.anyio
LONG = 30.0


def sessions(url: str, **settings: Any) -> RedisSessions:
    usual: dict[str, Any] = {"name": uuid.uuid4().hex, "ttl": 60.0, "outcome_window": 60.0}
    return RedisSessions(url, **(usual | {"timeout": LONG, "max_wait": LONG} | settings))


def event(product_id: str = "p1") -> Event:
    return Event(Interaction(Action.VIEW, product_id=product_id), time.time())


@asynccontextmanager
async def delayed(url: str, seconds: float) -> AsyncIterator[str]:
    """A server whose every reply takes so long."""
    served = set[asyncio.Task[Any]]()

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, pause: float) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                await asyncio.sleep(pause)
                target.write(data)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(cast("asyncio.Task[Any]", asyncio.current_task()))
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        await asyncio.gather(pump(reader, to_redis, seconds), pump(from_redis, writer, 0))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            await asyncio.wait(served)  # they end with the client's connections


async def is_left_alone(store: RedisSessions) -> bool:
    """Whether a request is refused without asking the server."""
    try:
        await store.session("s")
    except SessionsUnavailable as error:
        return "not asked now" in str(error)
    except SessionsBusy:
        pass
    return False


class TestOutage:
    async def test_a_server_that_vanishes_and_returns(self, redis_server: RedisServer) -> None:
        store = sessions(redis_server.url)
        await store.add_events("s", [event()])
        redis_server.stop()
        for call in (store.session("s"), store.add_events("s", [event()]), store.counts()):
            with pytest.raises(SessionsUnavailable):
                await call
        redis_server.start()
        await available(store)
        assert await store.session("s") is None  # it kept nothing
        await store.add_events("s", [event("p2")])
        assert await store.session("s") is not None
        await store.close()

    async def test_a_slow_server_is_left_alone_though_each_reply_is_in_time(
        self, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with delayed(redis_url, 0.08) as slow:
            store = sessions(slow, timeout=0.09)
            try:
                # On a busy machine a late request may still be answered; then the circuit counts anew.
                for _ in range(50):
                    if await is_left_alone(store):
                        break
                else:
                    pytest.fail("the slow server is asked again and again")
            finally:
                await store.close()
        assert [record.levelname for record in caplog.records if "does not answer" in record.message]

    async def test_a_server_that_restarts_while_nothing_is_asked_goes_unnoticed(
        self, redis_server: RedisServer
    ) -> None:
        store = sessions(redis_server.url)
        await asyncio.gather(*(store.add_events(f"s{row}", [event()]) for row in range(10)))
        redis_server.stop()
        redis_server.start()
        for row in range(10):
            await store.add_events(f"s{row}", [event()])
        await store.close()

    async def test_a_server_that_hangs_is_given_up_and_asked_again(self, redis_server: RedisServer) -> None:
        store = sessions(redis_server.url, timeout=0.05)
        await available(store)
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            calls = [store.session(f"s{row}") for row in range(200)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            # On a busy machine this process may be late itself, and then says nothing about the server.
            assert {type(result) for result in results} <= {SessionsUnavailable, SessionsBusy}
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)
        await available(store)
        await store.close()

    async def test_a_server_that_was_never_there(self) -> None:
        store = sessions("redis://127.0.0.1:1", timeout=1.0)
        for _ in range(10):
            with pytest.raises(SessionsUnavailable):
                await store.session("s")
        await store.close()

    async def test_a_request_that_is_given_up_disturbs_no_other(self, redis_url: str) -> None:
        store = sessions(redis_url)
        tasks = [asyncio.create_task(store.add_events(f"s{row}", [event(f"p{row}")])) for row in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result.accepted == 1 for result in results[1::2])  # type: ignore[union-attr]
        for row in range(1, 60, 2):
            session = await store.session(f"s{row}")
            assert session is not None
            assert session.interactions[0].product_id == f"p{row}"
        await store.close()


class TestRecords:
    async def test_replicas_share_sessions_and_counts(self, redis_url: str) -> None:
        name = uuid.uuid4().hex
        one, other = sessions(redis_url, name=name), sessions(redis_url, name=name)
        await one.add_answer("s", ShownAnswer("a", time.time(), 1, "", ("p1",)))
        for row in range(5):
            await (one if row % 2 else other).add_events("s", [event("p1")])
        session = await one.session("s")
        assert session is not None
        assert len(session.interactions) == 5
        assert await one.counts() == await other.counts() != {}
        await one.close()
        await other.close()

    async def test_replicas_that_change_one_session_at_once_lose_nothing(self, redis_url: str) -> None:
        name = uuid.uuid4().hex
        stores = [sessions(redis_url, name=name) for _ in range(4)]
        calls = [store.add_events("s", [event(f"{row}")]) for store in stores for row in range(8)]
        await asyncio.gather(*calls)
        session = await stores[0].session("s")
        assert session is not None
        assert len(session.interactions) == 32
        for store in stores:
            await store.close()

    async def test_other_shops_and_experiments_are_apart(self, redis_url: str) -> None:
        name = uuid.uuid4().hex
        here, there = sessions(redis_url, name=name, experiment="a"), sessions(redis_url, name="x" + name)
        later = sessions(redis_url, name=name, experiment="b")
        await here.add_answer("s", ShownAnswer("a", time.time(), 1, "", ("p1",)))
        await here.add_events("s", [event()])
        assert await there.session("s") is None
        assert await later.session("s") is not None
        assert await later.counts() == {}
        for store in (here, there, later):
            await store.close()

    async def test_everything_in_redis_expires(self, redis_url: str) -> None:
        store = sessions(redis_url, name="expires", ttl=60.0)
        await store.add_answer("s", ShownAnswer("a", time.time(), 1, "", ("p1",)))
        await store.close()
        with Redis.from_url(redis_url) as client:
            keys = list(client.scan_iter("ubm:expires:*"))
            assert sorted(keys) == [b"ubm:expires:counts:", b"ubm:expires:session:s"]
            assert all(0 < client.ttl(key) <= 90 * 86_400 for key in keys)

    async def test_a_damaged_record_is_dropped_counted_and_logged_once(
        self, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = sessions(redis_url, name="damaged")
        with Redis.from_url(redis_url) as client, caplog.at_level(logging.WARNING):
            for row in range(3):
                client.set(f"ubm:damaged:session:s{row}", b"\x93junk")
                assert await store.session(f"s{row}") is None
            await store.add_events("s0", [event()])
            assert await store.session("s0") is not None
        assert len(caplog.records) == 1
        assert (await store.gauges())["damaged"] >= 3
        await store.close()


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "http://:secret@host",
            "redis://:sec#ret@host",
            "redis://:secret@host:port",
            "redis://host?unknown_option=secret",
            "reddis://:secret@host",
            "secret",
            "",
        ],
    )
    async def test_one_that_is_wrong_is_refused_without_its_password(self, url: str) -> None:
        with pytest.raises(ValueError, match="expected redis://") as caught:
            sessions(url)
        assert "sec" not in str(caught.value)

    @pytest.mark.parametrize("scheme", ["redis", "rediss"])
    async def test_a_password_is_never_in_the_log_or_an_error(
        self, scheme: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = sessions(f"{scheme}://user:secret@127.0.0.1:1/2", timeout=1.0)
        with caplog.at_level(logging.DEBUG):
            for _ in range(5):
                with pytest.raises(SessionsUnavailable) as caught:
                    await store.session("s")
                assert "secret" not in str(caught.value)
        assert "secret" not in caplog.text
        await store.close()

    async def test_a_password_is_used(self, redis_server: RedisServer) -> None:
        with Redis.from_url(redis_server.url) as client:
            client.config_set("requirepass", "secret")
        with_it = sessions(redis_server.url.replace("redis://", "redis://:secret@"))
        assert await with_it.session("s") is None
        without = sessions(redis_server.url)
        with pytest.raises(SessionsUnavailable):
            await without.session("s")
        await with_it.close()
        await without.close()
