"""Changes of products that wait for the one thread of a worker that publishes them."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from indexer.search.background import SOMEWHAT, yield_to_others
from indexer.service.engine.overload import Overloaded
from indexer.service.updates.product_change import ProductChange

Report = TypeVar("Report")
Report_co = TypeVar("Report_co", covariant=True)

_LOG = logging.getLogger(__name__)

# Of one request, and of the requests that are published together.
MAX_PRODUCTS = 1_000
# Requests that are published together; each that fails costs another attempt.
_MAX_JOINED = 64
# Of the requests that wait. What comes when none does is taken whatever its size, which the server bounds.
_MAX_WAITING, _MAX_WAITING_BYTES = 4_000, 16 << 20
_MAX_RETRY_AFTER = 60


class Publisher(Protocol[Report_co]):
    """Publishes changes; for one thread."""

    def publish(self, changes: Sequence[ProductChange]) -> Sequence[Report_co | Exception]:
        """Make changes of several requests live, as one revision if they may be.

        Returns:
            For each a report, or the error that only this one has.
        """

    def close(self) -> None:
        """Let go of what it opened."""


class ProductWriter(Generic[Report]):
    """Publishes changes of products in the order in which they came, those that wait together if they may be.

    What has begun is finished, whether its client still waits or not; a change that waits longer than `timeout` is
    refused, and nothing of it is published. All methods are for the event loop's thread.

    Args:
        publisher: is used by one thread, and closed.
        show: called by another thread after that, and waited for before anybody is told, for `timeout` seconds at
            most: requests that come after an answer are to see what it changed.
        timeout: seconds.
        published: told how many seconds the changes took that had their turn together.
    """

    def __init__(
        self,
        publisher: Publisher[Report],
        show: Callable[[], object],
        timeout: float,
        published: Callable[[float], None],
    ) -> None:
        self._publisher, self._show, self._timeout, self._tell = publisher, show, timeout, published
        self._thread = ThreadPoolExecutor(1, "products", yield_to_others, (SOMEWHAT,))
        self._showing = ThreadPoolExecutor(1, "show products", yield_to_others, (SOMEWHAT,))
        self._queue: dict[_Waiting[Report], None] = {}
        self._products = self._bytes = 0
        self._seconds = 0.0
        self._work: asyncio.Task[None] | None = None
        self._is_closed = False

    async def apply(self, change: ProductChange, arrival: float | None = None) -> Report:
        """What became of a change, once this worker answers with it.

        Args:
            arrival: monotonic seconds at which its request came; None for now.

        Raises:
            Overloaded: too much waits, or its turn did not come in time; nothing was published.
            Exception: what the publisher returned in place of a report.
        """
        self._admit(change)
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Report] = _Waiting(change, loop.create_future())
        self._add(waiting)
        age = 0.0 if arrival is None else time.monotonic() - arrival
        expiry = loop.call_later(max(0.0, self._timeout - age), self._expire, waiting)
        if self._work is None:
            self._work = loop.create_task(self._work_off())
        try:
            return await waiting.future
        finally:
            expiry.cancel()
            self._remove(waiting)

    async def close(self) -> None:
        """Finish what waits, and refuse what comes later."""
        self._is_closed = True
        if self._work is not None:
            await self._work
        for thread in (self._thread, self._showing):
            await asyncio.to_thread(thread.shutdown)
        self._publisher.close()

    def _admit(self, change: ProductChange) -> None:
        if self._is_closed:
            raise ValueError("the writer of products is closed")
        too_many = self._products + len(change) > _MAX_WAITING or self._bytes + change.bytes > _MAX_WAITING_BYTES
        if self._queue and too_many:
            raise Overloaded(self._retry_after, "queue")

    @property
    def _retry_after(self) -> int:
        """Whole seconds after which what waits now may be done, judged by the last changes."""
        turns = 1 + self._products / MAX_PRODUCTS
        return max(1, min(math.ceil(turns * self._seconds), _MAX_RETRY_AFTER))

    def _add(self, waiting: _Waiting[Report]) -> None:
        self._queue[waiting] = None
        self._products += len(waiting.change)
        self._bytes += waiting.change.bytes

    def _remove(self, waiting: _Waiting[Report]) -> None:
        """Let one leave the queue, if it is in it: it begins, its time is over, or its client has gone."""
        if waiting in self._queue:
            del self._queue[waiting]
            self._products -= len(waiting.change)
            self._bytes -= waiting.change.bytes

    def _expire(self, waiting: _Waiting[Report]) -> None:
        if waiting in self._queue and not waiting.future.done():
            waiting.future.set_exception(Overloaded(self._retry_after, "timeout"))
            self._remove(waiting)

    async def _work_off(self) -> None:
        try:
            while self._queue:
                await self._publish_next()
        finally:
            self._work = None

    async def _publish_next(self) -> None:
        group, began = self._take(), time.monotonic()
        loop = asyncio.get_running_loop()
        outcomes = await loop.run_in_executor(self._thread, self._published, [one.change for one in group])
        if any(not isinstance(outcome, Exception) for outcome in outcomes):
            await self._showed()
        self._seconds = time.monotonic() - began
        self._tell(self._seconds)
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.tell(outcome)

    async def _showed(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.run_in_executor(self._showing, self._show), self._timeout)
        except TimeoutError:
            _LOG.warning("a change of products is published, but this worker does not answer with it yet")
        except Exception:  # it is published all the same
            _LOG.exception("a change of products is published, but this worker does not answer with it yet")

    def _take(self) -> list[_Waiting[Report]]:
        """The first that wait, as long as they may be one revision."""
        group: list[_Waiting[Report]] = []
        ids: set[str] = set()
        for waiting in self._queue:
            if group and not _may_join(waiting.change, group[0].change, ids):
                break
            group.append(waiting)
            ids.update(waiting.change.ids)
            if len(group) == _MAX_JOINED:
                break
        for waiting in group:
            self._remove(waiting)
        return group

    def _published(self, changes: Sequence[ProductChange]) -> Sequence[Report | Exception]:
        try:
            return self._publisher.publish(changes)
        except Exception as error:
            return [error] * len(changes)


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Report]):
    """A change and the future of its caller."""

    change: ProductChange
    future: asyncio.Future[Report]

    def tell(self, outcome: Report | Exception) -> None:
        """Give the caller a report or an error, unless it has gone."""
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


def _may_join(change: ProductChange, first: ProductChange, ids: set[str]) -> bool:
    """Whether a change does the same as the first of some, with other products, and is not one too many."""
    is_same = bool(change.deleted) == bool(first.deleted)
    return is_same and len(ids) + len(change) <= MAX_PRODUCTS and ids.isdisjoint(change.ids)
