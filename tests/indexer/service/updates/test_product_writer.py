"""Changes of products wait for one thread, and those that wait together are published together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.engine.overload import Overloaded
from indexer.service.updates.product_change import ProductChange
from indexer.service.updates.product_writer import MAX_PRODUCTS, ProductWriter
from ubm_embed.errors import InvalidData

PATIENCE = 30.0


def upsert(*ids: str, size: int = 10) -> ProductChange:
    return ProductChange([{"product_id": one} for one in ids], bytes=size)


def delete(*ids: str) -> ProductChange:
    return ProductChange(deleted=ids)


class Shop:
    """Publishes changes when it is told to, and remembers which were published together."""

    def __init__(self) -> None:
        self.groups: list[list[list[str]]] = []
        self.open = threading.Event()
        self.began = threading.Event()
        self.shown, self.is_closed = 0, False
        self.seconds: list[float] = []

    def publish(self, changes: Sequence[ProductChange]) -> list[int | Exception]:
        self.began.set()
        assert self.open.wait(PATIENCE)
        self.groups.append([list(change.ids) for change in changes])
        if "explode" in {one for change in changes for one in change.ids}:
            raise ZeroDivisionError
        return [InvalidData("bad") if "bad" in change.ids else len(self.groups) for change in changes]

    def close(self) -> None:
        self.is_closed = True

    def show(self) -> None:
        self.shown += 1


def run(scenario: Any, timeout: float = PATIENCE, show: Any = None) -> Shop:
    """Run a coroutine with a writer and its shop."""
    shop = Shop()

    async def main() -> None:
        writer = ProductWriter(shop, show or shop.show, timeout, shop.seconds.append)
        try:
            await scenario(writer, shop)
        finally:
            shop.open.set()
            await writer.close()

    asyncio.run(main())
    return shop


async def began(shop: Shop) -> None:
    assert await asyncio.to_thread(shop.began.wait, PATIENCE)


async def queued(writer: ProductWriter[int], shop: Shop, *changes: ProductChange) -> list[Any]:
    """What becomes of changes that wait together behind a first one."""
    first = asyncio.create_task(writer.apply(upsert("first")))
    await began(shop)
    tasks = [asyncio.create_task(writer.apply(change)) for change in changes]
    await asyncio.sleep(0)
    shop.open.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_waits_together_is_published_together_and_each_has_its_own_outcome() -> None:
    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        outcomes = await queued(writer, shop, upsert("a"), upsert("bad", "c"), upsert("d"))
        assert [outcomes[0], outcomes[2]] == [2, 2]
        assert isinstance(outcomes[1], InvalidData)

    shop = run(scenario)
    assert shop.groups == [[["first"]], [["a"], ["bad", "c"], ["d"]]]
    assert shop.shown == len(shop.seconds) == 2


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)), max_size=8
    )
)
def test_order_is_kept_and_what_is_joined_never_names_a_product_twice(requests: list[tuple[bool, list[str]]]) -> None:
    changes = [upsert(*ids) if is_upsert else delete(*ids) for is_upsert, ids in requests]

    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        await queued(writer, shop, *changes)

    groups = run(scenario).groups[1:]
    assert [ids for group in groups for ids in group] == [ids for _, ids in requests]
    kinds = iter(is_upsert for is_upsert, _ in requests)
    for group in groups:
        named = [one for ids in group for one in ids]
        assert len(set(named)) == len(named)
        assert len({next(kinds) for _ in group}) == 1


def test_no_more_products_are_joined_than_one_request_may_have() -> None:
    many = [f"p{number}" for number in range(MAX_PRODUCTS)]

    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        await queued(writer, shop, upsert("a"), upsert(*many), upsert("b"))

    assert [len(group) for group in run(scenario).groups] == [1, 1, 1, 1]


def test_too_much_that_waits_is_refused_with_a_time_to_come_again() -> None:
    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        first = asyncio.create_task(writer.apply(upsert("first")))
        await began(shop)
        large = asyncio.create_task(writer.apply(upsert("large", size=1 << 30)))  # is alone, so it may wait
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as raised:
            await writer.apply(upsert("one more"))
        assert raised.value.retry_after >= 1
        shop.open.set()
        assert [await first, await large] == [1, 2]
        assert await writer.apply(upsert("later")) == 3

    run(scenario)


def test_a_change_whose_turn_does_not_come_in_time_is_not_published() -> None:
    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        first = asyncio.create_task(writer.apply(upsert("first")))
        await began(shop)
        with pytest.raises(Overloaded) as raised:
            await writer.apply(upsert("late"))
        assert raised.value.reason == "timeout"
        shop.open.set()
        assert await first == 1  # which took longer than the time to wait: it had begun

    assert run(scenario, timeout=0.2).groups == [[["first"]]]


def test_a_client_that_goes_takes_its_change_back_unless_it_has_begun() -> None:
    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        first = asyncio.create_task(writer.apply(upsert("first")))
        await began(shop)
        second = asyncio.create_task(writer.apply(upsert("second")))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        shop.open.set()
        assert await writer.apply(upsert("third")) == 2

    assert run(scenario).groups == [[["first"]], [["third"]]]


def test_an_unexpected_error_reaches_each_caller_and_the_next_change_goes_on() -> None:
    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        outcomes = await queued(writer, shop, upsert("explode"), upsert("b"))
        assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 2
        assert await writer.apply(upsert("later")) == 3

    assert run(scenario).shown == 2


@pytest.mark.parametrize("fails", [True, False])
def test_what_is_published_is_told_although_this_worker_cannot_show_it(fails: bool) -> None:
    told = threading.Event()

    def show() -> None:
        if fails:
            raise OSError
        assert told.wait(PATIENCE)

    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        shop.open.set()
        assert await writer.apply(upsert("a")) == 1
        told.set()

    run(scenario, timeout=0.2, show=show)


def test_closing_finishes_what_waits() -> None:
    async def scenario(writer: ProductWriter[int], shop: Shop) -> None:
        task = asyncio.create_task(writer.apply(upsert("a")))
        await began(shop)
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="closed"):
            await writer.apply(upsert("b"))
        shop.open.set()
        await closing
        assert await task == 1
        assert shop.is_closed

    run(scenario)
