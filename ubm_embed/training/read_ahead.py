"""Reading the next batch while this one is learned from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def read_ahead(read: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[tuple[Item, Value]]:
    """Each item with what `read` makes of it, in order; the next one is read in a thread meanwhile.

    What `read` raises is raised when its item comes.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        waiting: deque[tuple[Item, Future[Value]]] = deque()
        for item in items:
            waiting.append((item, thread.submit(read, item)))
            if len(waiting) > 1:
                ready, value = waiting.popleft()
                yield ready, value.result()
        for item, value in waiting:
            yield item, value.result()
