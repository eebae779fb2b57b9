"""What all stores of sessions promise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from indexer.service.experiments.outcome_counts import by_group
from indexer.service.sessions.event import Event
from indexer.service.sessions.kept_session import MAX_AGE
from indexer.service.sessions.session_store import Added, Outcome, SessionStore, ShownAnswer
from ubm_embed.data.session import Action, Interaction, Product, Session

OpenStore = Callable[..., AbstractAsyncContextManager[SessionStore]]
pytestmark = pytest.mark.anyio
START = time.time()


def event(product_id: str = "p1", action: Action = Action.VIEW, event_id: str | None = None, ago: float = 0) -> Event:
    return Event(Interaction(action, product_id=product_id), time.time() - ago, event_id)


def answer(answer_id: str = "a1", product_ids: Sequence[str] = ("p1", "p2"), version: int = 1) -> ShownAnswer:
    return ShownAnswer(answer_id, time.time(), version, "", tuple(product_ids))


async def ids(store: SessionStore, session_id: str = "s") -> list[str | None]:
    session = await store.session(session_id)
    return [one.product_id for one in session.interactions] if session else []


class TestSessions:
    async def test_one_that_is_not_kept_is_none(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            assert await store.session("s") is None

    async def test_events_come_back_as_the_session_in_full(self, open_store: OpenStore) -> None:
        shirt = Product("red shirt \N{SNOWMAN}", "shirts", (("colour", "red"),), "p9")
        interactions = (
            Interaction(Action.SEARCH, query="red \u202e shirt\x00"),
            Interaction(Action.VIEW, product=shirt),
            Interaction(Action.ADD, product_id="p1"),
            Interaction(Action.REMOVE, product_id="p1"),
        )
        async with open_store() as store:
            added = await store.add_events("s", [Event(one, time.time()) for one in interactions])
            assert added == Added(4)
            assert await store.session("s") == Session(interactions, "s")

    @pytest.mark.parametrize("session_id", ["s", "a:b/c*{d}", "\N{SNOWMAN}", "x" * 256, " \x00\n"])
    async def test_an_id_may_be_any_text(self, open_store: OpenStore, session_id: str) -> None:
        async with open_store() as store:
            await store.add_events(session_id, [event()])
            await store.add_events("another", [event("p2")])
            assert await ids(store, session_id) == ["p1"]

    async def test_late_events_find_their_place_and_those_that_come_again_change_nothing(
        self, open_store: OpenStore
    ) -> None:
        late = event("p0", event_id="e0", ago=60)
        async with open_store() as store:
            await store.add_events("s", [event(event_id="e1")])
            assert await store.add_events("s", [late]) == Added(1)
            assert await store.add_events("s", [late, event("p2", event_id="e1")]) == Added(0, duplicates=2)
            assert await ids(store) == ["p0", "p1"]

    async def test_an_old_event_does_not_begin_a_session(self, open_store: OpenStore) -> None:
        old = event("p0", ago=MAX_AGE + 60)
        async with open_store() as store:
            assert await store.add_events("s", [old]) == Added(0, expired=1)
            assert await store.session("s") is None
            await store.add_events("s", [event()])
            assert await store.add_events("s", [old]) == Added(1)
            assert await ids(store) == ["p0", "p1"]

    async def test_a_clock_that_jumps_back_does_not_turn_the_order(self, open_store: OpenStore) -> None:
        moments = iter([START + 86_400, START])
        async with open_store(now=lambda: next(moments)) as store:
            await store.add_events("s", [Event(event("p1").interaction, START + 86_400)])
            await store.add_events("s", [Event(event("p2").interaction, START)])
            assert await ids(store) == ["p1", "p2"]

    async def test_events_that_come_at_once_are_all_kept(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await asyncio.gather(*(store.add_events("s", [event(f"p{number}")]) for number in range(32)))
            assert set(await ids(store)) == {f"p{number}" for number in range(32)}

    async def test_a_session_is_forgotten_after_its_time(self, open_store: OpenStore) -> None:
        async with open_store(ttl=0.2) as store:
            await store.add_events("s", [event()])
            async with asyncio.timeout(30):
                while await store.session("s") is not None:
                    await asyncio.sleep(0.02)
            assert await store.add_events("s", [event("p2")]) == Added(1)

    async def test_many_sessions_at_once(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await asyncio.gather(*(store.add_events(f"s{row}", [event(f"p{row}")]) for row in range(1_000)))
            assert [await ids(store, f"s{row}") for row in (0, 499, 999)] == [["p0"], ["p499"], ["p999"]]


class TestOutcomes:
    async def test_what_answers_led_to_is_counted_over_all_sessions(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            assert await store.counts() == {}
            for session_id in ("s", "t"):
                await store.add_answer(session_id, answer())
            added = await store.add_events("s", [event("p2"), event("p2", Action.BUY)])
            assert added.outcomes == (Outcome("click", "a1", 1, "", "p2"), Outcome("buy", "a1", 1, "", "p2"))
            await store.add_answer("s", answer("a2"))
            (sums,) = by_group(await store.counts()).values()
        assert (sums["sessions"], sums["answers"], sums["clicks"], sums["buys"]) == (2, 3, 1, 1)

    async def test_an_answer_alone_makes_no_session(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await store.add_answer("s", answer())
            assert await store.session("s") is None

    async def test_answers_that_are_counted_at_once_are_all_counted(self, open_store: OpenStore) -> None:
        async with open_store() as store:
            await asyncio.gather(*(store.add_answer(f"s{row % 5}", answer(f"a{row}")) for row in range(40)))
            (sums,) = by_group(await store.counts()).values()
        assert (sums["sessions"], sums["answers"], sums["answers_squared"]) == (5, 40, 5 * 64)


async def test_gauges_have_names_of_metrics(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.add_events("s", [event()])
        gauges = await store.gauges()
    assert gauges.keys() <= {"sessions", "bytes", "evicted", "damaged"}
    assert gauges.get("sessions", 1) == 1
