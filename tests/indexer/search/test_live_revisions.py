"""A live retriever takes up revisions while it answers, and every answer is of one of them.

Each revision gives all products its own number as their price.
"""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.vector_index import VectorIndex
from indexer.refresh.refresh import refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.answer import Answer
from indexer.search.live_retriever import LiveRetriever
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from indexer.versions.live import make_live, read_live
from indexer.versions.revision import segment_path
from indexer.versions.rollback import roll_back
from tests.indexer.search.toy_requests import search, session, view
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import ModelFolder

SECONDS = 60  # after which a test that waits has failed
BASE = [f"p{number}" for number in range(1, 9)]
SESSION = session(view("p1"), search("red"))


@pytest.fixture
def updater(nights: Path) -> Iterator[Updater]:
    with Updater(nights) as made:
        yield made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was opened of a version, in order."""
    seen: list[str] = []

    def count(owner: type[Any], name: str) -> None:
        function = getattr(owner, name).__func__

        def counted(cls: type[Any], *arguments: Any, **options: Any) -> Any:
            seen.append(owner.__name__)
            return function(cls, *arguments, **options)

        monkeypatch.setattr(owner, name, classmethod(counted))

    for owner, name in ((VectorIndex, "load"), (MappedCatalogue, "open"), (ModelFolder, "open")):
        count(owner, name)
    return seen


def reprice(updater: Updater, number: int) -> None:
    """A revision in which everything costs its number, and one product is new."""
    rows: list[dict[str, Any]] = [{"product_id": name, "price": float(number)} for name in BASE]
    rows.append({"product_id": f"n{number}", "title": f"red shirt {number}", "price": float(number)})
    updater.upsert(rows)
    updater.delete([f"n{number}"])


def assert_whole(answer: Answer) -> None:
    """All prices are of one revision; those before the first have the version's number."""
    expected = -(-answer.revision // 2) if answer.revision else answer.version
    prices = {match.fields["price"] for match in answer.matches if match.product_id in BASE}
    assert prices == {expected}, (answer.version, answer.revision)


def segments_of(store: Path) -> list[Path]:
    revision = read_live(EmbeddingStore.open(store)).revision
    return [] if revision is None else [store / segment_path(3, segment.name) for segment in revision.segments]


class TestTakingUp:
    def test_nothing_is_opened_anew(self, nights: Path, updater: Updater, opened: list[str]) -> None:
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            embedder: Embedder = live_retriever(live).embedder
            reprice(updater, 1)
            opened.clear()  # the updater has opened what it needs
            for number in range(2, 6):
                reprice(updater, number)
                assert live.check()
                assert not live.check()
                assert live_retriever(live).embedder is embedder
                assert live.revision == read_live(EmbeddingStore.open(nights)).revision
            assert not opened
            assert live.label == "3.10"

    def test_answers_are_whole_while_revisions_come(self, nights: Path, updater: Updater) -> None:
        done, failures, revisions = threading.Event(), list[BaseException](), set[int]()

        def ask(live: LiveRetriever) -> None:
            try:
                while not done.is_set():
                    for answer in (live.recommend(SESSION, 8), live.lookup_id("p2", 8), capped(live)):
                        assert_whole(answer)
                        revisions.add(answer.revision)
            except BaseException as error:
                failures.append(error)

        with LiveRetriever(nights, device="cpu", interval=None) as live:
            threads = [threading.Thread(target=ask, args=(live,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for number in range(1, 5):
                reprice(updater, number)
                live.check()
                assert_whole(live.recommend(SESSION, 8))
            done.set()
            for thread in threads:
                thread.join(SECONDS)
        assert not failures
        assert max(revisions) > min(revisions)

    def test_a_thread_takes_them_up_by_itself(self, nights: Path, updater: Updater) -> None:
        with LiveRetriever(nights, device="cpu", interval=0.001) as live:
            updater.upsert([{"product_id": "p1", "price": 77.0}])
            wait_until(lambda: live.label == "3.1")
            assert 77.0 in {match.fields["price"] for match in live.recommend(SESSION, 8, EVERYTHING).matches}

    def test_requests_find_their_rules_compiled(self, nights: Path, updater: Updater) -> None:
        rules = [Rules(where="price < 50"), Rules(max_per={"category": 2}), Rules(boost={"p3": 0.5})]
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            for one in rules:
                live.recommend(SESSION, 3, one)
            reprice(updater, 1)
            assert live.check()
            assert all(live_retriever(live).has_compiled(one) for one in rules)

    def test_requests_under_way_end_with_their_revision(self, nights: Path, updater: Updater) -> None:
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            with live.borrow() as before:
                reprice(updater, 1)
                assert live.check()
                assert before.recommend(SESSION).revision == 0
                assert_whole(before.recommend(SESSION, 8))
            assert live.recommend(SESSION).revision == 2
            with pytest.raises(ValueError, match="closed"):
                before.recommend(SESSION)

    @pytest.mark.parametrize("is_open", [False, True])
    def test_a_revision_is_freed_at_once(self, nights: Path, updater: Updater, is_open: bool) -> None:
        if not is_open:
            updater.upsert([{"product_id": "n1", "title": "red shirt"}])
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            if is_open:
                updater.upsert([{"product_id": "n1", "title": "red shirt"}])
                assert live.check()
            live.recommend(SESSION, 8, Rules(where="price < 50", max_per={"category": 2}))
            retriever = live_retriever(live)
            parts = [weakref.ref(part) for part in (retriever, retriever.catalogue, retriever.index)]
            del retriever
            gc.disable()  # as Python leaves cycles for minutes in a process with many objects
            try:
                reprice(updater, 2)
                assert live.check()
                assert [part() for part in parts] == [None] * len(parts)
            finally:
                gc.enable()

    def test_a_rollback_takes_its_revision_along(self, nights: Path, updater: Updater) -> None:
        store = EmbeddingStore.open(nights)
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            reprice(updater, 1)
            assert live.check()
            make_live(store, 2, known=read_live(store))
            assert live.check()
            assert (live.label, live.recommend(SESSION).revision) == ("2", 0)
            make_live(store, 3, known=read_live(store))
            assert live.check()
            assert live.label == "3.2"
            roll_back(store, 3, as_published=True)
            assert live.check()
            assert live.label == "3.3"
            assert {match.fields["price"] for match in live.recommend(SESSION, 8).matches} == {3.0}

    def test_a_version_that_shares_its_files_takes_over_with_the_index_that_is_open(
        self, nights: Path, updater: Updater, catalogue: Callable[[int], Path], opened: list[str]
    ) -> None:
        feed = catalogue(3)
        pl.read_parquet(feed).with_columns(price=pl.lit(50.0)).write_parquet(feed)
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            live.recommend(SESSION, 8, Rules(where="price < 100"))
            published = refresh(products=feed, store=nights, settings=RefreshSettings(max_patch_share=1)).published
            assert published is not None
            assert published.shares_files_of == 3
            opened.clear()
            assert live.check()
            assert opened == ["MappedCatalogue"]
            for rules in (EVERYTHING, Rules(where="price = 50")):
                answer = live.recommend(SESSION, 8, rules)
                assert (answer.version, answer.revision) == (4, 0)
                assert {match.fields["price"] for match in answer.matches} == {50.0}
            updater.upsert([{"product_id": "p2", "price": 2.0}, {"product_id": "n1", "title": "red shirt"}])
            assert live.check()
            answer = live.recommend(SESSION, 9, EVERYTHING)
            assert (live.label, len(answer.matches)) == ("4.1", 9)
            assert {match.product_id: match.fields["price"] for match in answer.matches}["p2"] == 2.0
            make_live(EmbeddingStore.open(nights), 3, known=read_live(EmbeddingStore.open(nights)))
            assert live.check()
            assert {match.fields["price"] for match in live.recommend(SESSION, 8).matches} == {3.0}

    def test_it_is_not_verified_again(self, nights: Path, updater: Updater) -> None:
        verified: list[str] = []
        with LiveRetriever(
            nights, device="cpu", interval=None, verify=lambda retriever: verified.append(retriever.label)
        ) as live:
            reprice(updater, 1)
            assert live.check()
        assert verified == ["3"]


class TestFailures:
    def test_a_damaged_revision_is_reported_and_the_one_before_goes_on(
        self, nights: Path, updater: Updater, caplog: pytest.LogCaptureFixture
    ) -> None:
        errors: list[Exception] = []
        with LiveRetriever(nights, device="cpu", interval=None, on_error=errors.append) as live:
            reprice(updater, 1)
            assert live.check()
            updater.upsert([{"product_id": name, "price": 9.0} for name in BASE])
            damaged = segments_of(nights)[-1]
            content = damaged.read_bytes()
            damaged.write_bytes(content[: len(content) // 2])
            with caplog.at_level(logging.WARNING):
                assert not live.check()
                assert not live.check()
            (message,) = [record.getMessage() for record in caplog.records]
            assert message.startswith(f"{nights}: version 3.3 does not open, version 3.2 goes on: ")
            assert [damaged.name in str(error) for error in errors] == [True]
            assert isinstance(live.error, InvalidData)
            assert_whole(live.recommend(SESSION, 8))
            damaged.write_bytes(content)
            assert live.check()
            assert (live.error, live.label) == (None, "3.3")

    def test_going_back_to_what_answers_ends_the_error(self, nights: Path, updater: Updater) -> None:
        store = EmbeddingStore.open(nights)
        with LiveRetriever(nights, device="cpu", interval=None) as live:
            before = read_live(store)
            updater.upsert([{"product_id": "p1", "price": 9.0}])
            segments_of(nights)[-1].write_bytes(b"")
            assert not live.check()
            assert live.error is not None
            store.storage.write("live.json", before.to_bytes())
            assert not live.check()
            assert live.error is None


EVERYTHING = Rules(exclude_seen=False)


def capped(live: LiveRetriever) -> Answer:
    return live.recommend(SESSION, 8, Rules(max_per={"category": 2}, where="price < 1000", exclude_seen=False))


def live_retriever(live: LiveRetriever) -> Retriever:
    with live.borrow() as retriever:
        return retriever


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds."""
    ticks = threading.Event()
    for _ in range(SECONDS * 1000):
        if condition():
            return
        ticks.wait(0.001)
    pytest.fail("it never held")
