"""Two processes that upsert, nights that refresh, and queries all the while: nothing lost, doubled or half applied."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from indexer.health.doctor import examine
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.search.answer import Answer
from indexer.search.live_retriever import LiveRetriever
from indexer.search.ranking import Rules
from indexer.updates.updater import Updater
from tests.indexer.refresh.kills import SETTINGS, forkserver
from tests.indexer.refresh.shop import SESSION
from tests.indexer.updates.live_products import live_of, live_products

WRITERS, ROTATING = ("a", "b"), 20
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
RULES = Rules(exclude_seen=False)


def write_steadily(store: Path, writer: str, count: int) -> None:
    """In its own process: each upsert gives one price to two products, and to one of a few others."""
    with Updater(store, device="cpu") as updater:
        for number in range(count):
            changed = (f"{writer} left", f"{writer} right", f"{writer} {number % ROTATING}")
            updater.upsert([{"product_id": name, "title": "red boots", "price": float(number)} for name in changed])


def query_steadily(store: Path, stopped: threading.Event) -> list[Answer]:
    answers = []
    with LiveRetriever(store, interval=0.01, device="cpu") as retriever:
        while not stopped.is_set():
            answers.append(retriever.recommend(SESSION, 100, rules=RULES))
    return answers


def require_whole(answer: Answer) -> None:
    """No product twice, and two that always change together have the same price, or are both not there yet."""
    prices = {match.product_id: match.fields["price"] for match in answer.matches}
    assert len(prices) == len(answer.matches)
    for writer in WRITERS:
        assert prices.get(f"{writer} left") == prices.get(f"{writer} right")


def refresh_by_night(store: Path, products_file: Path, night: int) -> None:
    """Every other night a text changes, else a price."""
    name, value = ("title", f"red shirt {night}") if night % 2 else ("price", 1000.0 + night)
    changed = pl.when(pl.col("product_id") == "p3").then(pl.lit(value)).otherwise(name).alias(name)
    feed = products_file.with_name(f"night{night}.parquet")
    pl.read_parquet(products_file).with_columns(changed).write_parquet(feed)
    done = refresh(store=store, products=feed, feed_time=LONG_AGO, settings=SETTINGS, allow=set(Gate))
    assert done.published is not None


@pytest.mark.parametrize(
    ("nights", "upserts"), [(2, 16), pytest.param(10, 1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_nothing_is_lost_doubled_or_half_applied(store: Path, products_file: Path, nights: int, upserts: int) -> None:
    stopped, each = threading.Event(), upserts // len(WRITERS)
    writers = [forkserver().Process(target=write_steadily, args=(store, writer, each)) for writer in WRITERS]
    with ThreadPoolExecutor(1) as pool:
        queries = pool.submit(query_steadily, store, stopped)
        try:
            for process in writers:
                process.start()
            for night in range(nights):
                refresh_by_night(store, products_file, night)
            for process in writers:
                process.join()
        finally:
            stopped.set()
        answers = queries.result()

    assert [process.exitcode for process in writers] == [0, 0]
    labels = [(answer.version, answer.revision) for answer in answers]
    assert labels == sorted(labels)
    for answer in answers:
        require_whole(answer)
    assert live_of(store).version == nights + 1
    prices = {name: row["price"] for name, row in live_products(store).items() if " " in name}
    expected = {f"{writer} {number % ROTATING}": float(number) for writer in WRITERS for number in range(each)}
    assert prices == expected | {f"{writer} {side}": each - 1.0 for writer in WRITERS for side in ("left", "right")}
    assert not [finding for finding in examine(store) if finding.severity == "error"]
