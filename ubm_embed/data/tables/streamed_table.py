"""A lazy table whose rows come from a reader of our own, a block at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import polars as pl
from polars.io.plugins import register_io_source

from ubm_embed.errors import InvalidData

T = TypeVar("T")
S = TypeVar("S")
# Given the columns to read, in their order.
Reader = Callable[[list[str]], Iterator[pl.DataFrame]]
_END = object()
# A block is too small for polars to keep more than a core or two busy with it.
_PARSERS = 2


def streamed_table(file: Path, schema: Mapping[str, pl.DataType], read: Reader) -> pl.LazyFrame:
    """The frames of `read` as one lazy table; the next is read while one is used.

    A scan of a file that has changed since this call is an error, since its rows may be of two states.
    """
    stamp = _stamp(file)

    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = list(schema) if columns is None else columns
        needed = {*wanted, *(predicate.meta.root_names() if predicate is not None else ())}
        for frame in in_advance(read([name for name in schema if name in needed])):
            taken = frame if rows is None else frame.head(rows)
            rows = None if rows is None else rows - taken.height
            yield (taken if predicate is None else taken.filter(predicate)).select(wanted)
            if rows == 0:
                return
        if _stamp(file) != stamp:
            raise InvalidData("it changed while it was read; read it again once it is complete", file=file)

    return register_io_source(frames, schema=dict(schema), is_pure=True)


def in_advance(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before it is used."""
    thread = ThreadPoolExecutor(1)
    try:
        coming = thread.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]
    finally:
        # Not waited for: a generator that is not used up may be closed by any thread, also by this one.
        thread.shutdown(wait=False, cancel_futures=True)


def in_parallel(function: Callable[[T], S], items: Iterator[T]) -> Iterator[S]:
    """`function` of each item, in order, two at a time."""
    threads = ThreadPoolExecutor(_PARSERS)
    coming: deque[Future[S]] = deque()
    try:
        for item in items:
            coming.append(threads.submit(function, item))
            if len(coming) > _PARSERS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _stamp(file: Path) -> tuple[int, int, int]:
    status = os.stat(file)
    return status.st_ino, status.st_size, status.st_mtime_ns
