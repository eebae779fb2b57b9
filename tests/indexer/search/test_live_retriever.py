"""A live retriever answers from the live version, and every answer is whole and of one version.

In `nights` the price of every product is the number of the version.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.catalogue.product_file import PRODUCTS_FILE
from indexer.index.vector_index import INDEX_FILE
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search import live_retriever
from indexer.search.answer import Answer
from indexer.search.live_retriever import LiveRetriever
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import LIVE_FILE, EmbeddingStore, version_folder
from indexer.versions.live import Live, make_live, read_live
from indexer.versions.pruning import KeepPolicy
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder

SECONDS = 60  # after which a test that waits has failed


def session(*product_ids: str) -> Session:
    return Session(tuple(Interaction(Action.VIEW, product_id=name) for name in product_ids), "s")


def publish(store: Path, number: int) -> None:
    """Make a version live without a check of its files."""
    opened = EmbeddingStore.open(store)
    make_live(opened, number, known=read_live(opened))


def assert_whole(answer: Answer) -> None:
    """All matches, with what their version says of them."""
    assert [match.fields["price"] for match in answer.matches] == [answer.version] * 7


def parts_of(live: LiveRetriever) -> list[weakref.ref[object]]:
    """What of a version takes memory and holds its files open."""
    with live.borrow() as retriever:
        return [weakref.ref(retriever), weakref.ref(retriever.index.backend), weakref.ref(retriever.catalogue)]


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Leave objects that refer to one another where they are, as Python does for minutes in a process with many."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the versions that were closed, in order."""
    numbers: list[int] = []
    close = Retriever.close

    def counted(retriever: Retriever) -> None:
        numbers.append(retriever.version.version)
        close(retriever)

    monkeypatch.setattr(Retriever, "close", counted)
    return numbers


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The numbers of the versions that were opened or tried, in order; None for the live one."""
    numbers: list[int | None] = []
    open_retriever = Retriever.open

    def counted(store: str | Path, *, version: int | None = None, **options: Any) -> Retriever:
        numbers.append(version)
        return open_retriever(store, version=version, **options)

    monkeypatch.setattr(Retriever, "open", counted)
    return numbers


@contextmanager
def in_thread(function: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run something beside the block, at the end of which it must end, too."""
    thread = threading.Thread(target=function)
    thread.start()
    yield thread
    thread.join(SECONDS)
    assert not thread.is_alive()


class TestTakingOver:
    def test_answers_are_of_the_live_version(self, nights: Path, closed: list[int]) -> None:
        with LiveRetriever(nights, interval=None) as live:
            assert not live.check()
            embedder = embedder_of(live)
            for number in (2, 3, 1):
                publish(nights, number)
                assert live.check()
                assert live.version.version == number
                product = Product("red shirt")
                for answer in (live.lookup_id("p1"), live.recommend(session("p1")), live.lookup(product, 7)):
                    assert answer.version == number
                    assert_whole(answer)
                assert embedder_of(live) is embedder
                assert not live.check()
            assert closed == [3, 2, 3]
        assert closed == [3, 2, 3, 1]

    def test_the_version_before_is_freed_at_once(self, nights: Path) -> None:
        with LiveRetriever(nights, interval=None) as live, collecting_nothing():
            live.recommend(session("p1"), rules=Rules(where="price > 0", max_per={"category": 2}))
            parts = parts_of(live)
            publish(nights, 2)
            assert live.check()
            assert [part() for part in parts] == [None] * 3

    def test_a_new_model_comes_with_its_version(
        self, nights: Path, other_model_folder: Path, catalogue: Callable[[int], Path]
    ) -> None:
        with LiveRetriever(nights, interval=None) as live:
            before, embedder = live.recommend(session("p1")), embedder_of(live)
            build_index(
                model=other_model_folder, products=catalogue(4), store=nights, allow=[Gate.NEIGHBOURS, Gate.CENTROID]
            )
            assert live.check()
            after = live.recommend(session("p1"))
            assert_whole(after)
            assert embedder_of(live) is not embedder
            assert before.model_id != after.model_id == live.version.model_id

    def test_a_thread_notices(self, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        taken_over = threading.Event()
        close = Retriever.close
        monkeypatch.setattr(Retriever, "close", lambda retriever: (close(retriever), taken_over.set()))
        with LiveRetriever(nights, interval=0.001) as live:
            publish(nights, 2)
            assert taken_over.wait(SECONDS)
            assert live.recommend(session("p1")).version == 2

    def test_versions_swap_under_requests(self, nights: Path, closed: list[int]) -> None:
        answers: list[list[Answer]] = []
        swaps, stop = threading.Barrier(4), threading.Event()

        def ask() -> None:
            swaps.wait(SECONDS)
            while not stop.is_set():
                part = live.recommend_many([session("p1"), session("p2", "p3")])
                assert len({answer.version for answer in part}) == 1
                answers.append(part[:1])

        with (
            LiveRetriever(nights, interval=None, warm_sessions=4) as live,
            in_thread(ask),
            in_thread(ask),
            in_thread(ask),
        ):
            swaps.wait(SECONDS)
            for number in (1, 2, 3, 1, 2, 3):
                publish(nights, number)
                assert live.check()
                count = len(answers)
                while len(answers) < count + 4:  # so that each version is asked
                    assert live.recommend(session("p4")).version == number
            stop.set()
        assert {answer.version for part in answers for answer in part} == {1, 2, 3}
        for part in answers:
            assert_whole(part[0])
        assert sorted(closed) == [1, 1, 2, 2, 3, 3, 3]

    def test_a_borrowed_version_stays_open(self, nights: Path, closed: list[int]) -> None:
        with LiveRetriever(nights, interval=None) as live:
            with live.borrow() as retriever:
                publish(nights, 2)
                assert live.check()
                assert live.lookup_id("p1").version == 2
                assert_whole(retriever.lookup_id("p1"))
                assert retriever.version.version == 3
                assert closed == []
            assert closed == [3]

    def test_what_is_published_by_a_refresh(self, nights: Path, catalogue: Callable[[int], Path]) -> None:
        """The versions before it are pruned meanwhile."""
        with LiveRetriever(nights, interval=None) as live:
            settings = RefreshSettings(keep=KeepPolicy(versions=1))
            refresh(products=catalogue(4), store=nights, settings=settings, allow=[Gate.NEIGHBOURS, Gate.CENTROID])
            assert_whole(live.recommend(session("p1")))
            assert live.check()
            assert_whole(live.recommend(session("p1")))
            assert live.version.version == 4


class TestErrors:
    @pytest.fixture
    def damaged(self, nights: Path) -> Path:
        """A store whose version 2 lacks half of its index; version 3 is live."""
        index = nights / version_folder(2) / INDEX_FILE
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
        return nights

    def test_a_version_that_does_not_open_is_reported_once(
        self, damaged: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        errors: list[Exception] = []
        with LiveRetriever(damaged, interval=None, on_error=errors.append) as live:
            publish(damaged, 2)
            with caplog.at_level(logging.WARNING):
                assert not live.check()
                assert not live.check()
            assert isinstance(live.error, InvalidData)
            assert [type(error) for error in errors] == [InvalidData]
            (message,) = [record.getMessage() for record in caplog.records]
            assert message.startswith(f"{damaged}: version 2 does not open, version 3 goes on: ")
            assert_whole(live.recommend(session("p1")))
            publish(damaged, 1)
            assert live.check()
            assert live.error is None
            assert live.recommend(session("p1")).version == 1

    def test_going_back_to_what_answers_ends_the_error(self, damaged: Path) -> None:
        with LiveRetriever(damaged, interval=None) as live:
            publish(damaged, 2)
            assert not live.check()
            publish(damaged, 3)
            assert not live.check()
            assert live.error is None

    def test_a_version_whose_files_were_cut_in_use_is_opened_again(self, nights: Path) -> None:
        file = nights / version_folder(3) / PRODUCTS_FILE
        whole = file.read_bytes()
        with LiveRetriever(nights, interval=None) as live:
            os.truncate(file, len(whole) // 2)
            with pytest.raises(InvalidData, match="changed while it was in use"):
                live.recommend(session("p1"))
            assert not live.check()
            assert isinstance(live.error, InvalidData)
            file.with_name("aside").write_bytes(whole)
            file.with_name("aside").replace(file)
            assert live.check()
            assert live.error is None
            assert_whole(live.recommend(session("p1")))

    @pytest.mark.parametrize(("retry_after", "again"), [(1e9, False), (0.0, True)])
    def test_it_is_tried_again_after_a_while(
        self,
        damaged: Path,
        opened: list[int | None],
        monkeypatch: pytest.MonkeyPatch,
        retry_after: float,
        again: bool,
    ) -> None:
        looks, enough = 0, threading.Event()
        read_live = live_retriever.read_live

        def counted(store: EmbeddingStore) -> Live:
            nonlocal looks
            if live.error is not None:
                looks += 1
                if looks == 4:
                    enough.set()
            return read_live(store)

        with LiveRetriever(damaged, interval=0.001, retry_after=retry_after) as live:
            monkeypatch.setattr(live_retriever, "read_live", counted)
            publish(damaged, 2)
            assert enough.wait(SECONDS)
        assert (opened.count(2) > 1) is again

    def test_an_owner_who_asks_tries_at_once(self, damaged: Path, opened: list[int | None]) -> None:
        with LiveRetriever(damaged, interval=None, retry_after=1e9) as live:
            publish(damaged, 2)
            assert not live.check()
            assert not live.check()
        assert opened == [None, 2, 2]

    def test_an_on_error_that_fails_changes_nothing(self, damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
        def fail(error: Exception) -> None:
            raise RuntimeError("no network")

        with LiveRetriever(damaged, interval=None, on_error=fail) as live:
            publish(damaged, 2)
            with caplog.at_level(logging.ERROR):
                assert not live.check()
            assert [record.getMessage() for record in caplog.records][-1] == "on_error failed"
            assert isinstance(live.error, InvalidData)

    def test_a_live_json_that_vanishes_for_a_moment(self, nights: Path, tmp_path: Path) -> None:
        with LiveRetriever(nights, interval=None) as live:
            shutil.move(nights / LIVE_FILE, tmp_path / "aside.json")
            assert not live.check()
            assert isinstance(live.error, InvalidData)
            assert_whole(live.recommend(session("p1")))
            shutil.move(tmp_path / "aside.json", nights / LIVE_FILE)
            assert not live.check()
            assert live.error is None

    def test_whatever_goes_wrong_with_a_version_the_one_before_goes_on(
        self, nights: Path, closed: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with LiveRetriever(nights, interval=None) as live:
            live.recommend(session("p1"))
            publish(nights, 2)
            with monkeypatch.context() as patch:
                patch.setattr(Retriever, "recommend", lambda *_: 1 // 0)
                assert not live.check()
            assert isinstance(live.error, ZeroDivisionError)
            assert closed == [2]
            assert_whole(live.recommend(session("p1")))
            assert live.check()


class TestWarming:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Session, int, Rules | None]]:
        """What a version was asked to be warm."""
        requests: list[tuple[Session, int, Rules | None]] = []
        recommend = Retriever.recommend

        def counted(retriever: Retriever, session: Session, k: int = 10, rules: Rules | None = None) -> Answer:
            requests.append((session, k, rules))
            return recommend(retriever, session, k, rules)

        monkeypatch.setattr(Retriever, "recommend", counted)
        return requests

    def test_a_new_version_answers_the_last_sessions_first(self, nights: Path, asked: list[Any]) -> None:
        rules = Rules(where="price > 0")
        with LiveRetriever(nights, interval=None, warm_sessions=3) as live:
            live.recommend(session("p1"))
            live.recommend_many([session(f"p{number}") for number in range(1, 5)], 2, rules)
            live.recommend(session("p5"), 3)
            publish(nights, 2)
            assert live.check()
        assert [(request.interactions[0].product_id, k, by) for request, k, by in asked] == [
            ("p3", 2, rules),
            ("p4", 2, rules),
            ("p5", 3, None),
        ]

    def test_what_is_remembered_has_a_limit(self, nights: Path, asked: list[Any]) -> None:
        long = Session((Interaction(Action.SEARCH, query="red " * 5_000),))
        inline = Session((Interaction(Action.VIEW, product=Product("red shirt", "x" * 20_000)),))
        rules = Rules(where="price > 0", exclude=[f"x{number}" for number in range(2_000)])
        with LiveRetriever(nights, interval=None) as live:
            live.recommend_many([long, inline])
            live.recommend(session(*["p1"] * 500), 10, rules)
            publish(nights, 2)
            assert live.check()
            ((recent, k, slim),) = asked
            assert len(recent.interactions) == embedder_of(live).max_interactions
            assert (k, slim) == (10, Rules(where="price > 0"))

    def test_a_request_that_the_new_version_refuses_does_not_keep_it_back(
        self, nights: Path, catalogue: Callable[[int], Path], asked: list[Any]
    ) -> None:
        with LiveRetriever(nights, interval=None) as live:
            live.recommend_many([session("p1")], 10, Rules(where="price > 0"))
            pl.read_parquet(catalogue(4)).drop("price").write_parquet(nights.parent / "priceless.parquet")
            allowed = [Gate.SCHEMA, Gate.NEIGHBOURS, Gate.CENTROID]
            refresh(products=nights.parent / "priceless.parquet", store=nights, allow=allowed)
            assert live.check()
            assert live.version.version == 4
        assert len(asked) == 1


class TestClosing:
    def test_it_waits_for_requests_and_refuses_later_ones(
        self, nights: Path, closed: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()
        recommend_many = Retriever.recommend_many
        answers: list[Answer] = []

        def slow(retriever: Retriever, *arguments: Any, **options: Any) -> list[Answer]:
            begun.set()
            assert go_on.wait(SECONDS)
            return recommend_many(retriever, *arguments, **options)

        live = LiveRetriever(nights, interval=0.001)
        monkeypatch.setattr(Retriever, "recommend_many", slow)
        with in_thread(lambda: answers.append(live.recommend(session("p1")))):
            assert begun.wait(SECONDS)
            with in_thread(live.close) as closing:
                while not is_closed(live):
                    assert closing.is_alive()
                assert closed == []
                go_on.set()
        assert closed == [3]
        assert_whole(answers[0])

    def test_a_version_that_opens_meanwhile_is_let_go(
        self, nights: Path, closed: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live = LiveRetriever(nights, interval=None)
        open_retriever = Retriever.open

        def slow(*arguments: Any, **options: Any) -> Retriever:
            retriever = open_retriever(*arguments, **options)
            closing.start()
            while not is_closed(live):
                assert closing.is_alive()
            return retriever

        monkeypatch.setattr(Retriever, "open", slow)
        closing = threading.Thread(target=live.close)
        publish(nights, 2)
        assert not live.check()
        closing.join(SECONDS)
        assert closed == [2, 3]

    def test_a_closed_one_does_nothing(self, nights: Path, opened: list[int | None]) -> None:
        live = LiveRetriever(nights, interval=None)
        live.close()
        live.close()
        publish(nights, 2)
        assert not live.check()
        assert opened == [None]
        for ask in (lambda: live.recommend(session("p1")), lambda: live.lookup_id("p1")):
            with pytest.raises(ValueError, match="the retriever is closed"):
                ask()


def embedder_of(live: LiveRetriever) -> Embedder:
    with live.borrow() as retriever:
        return retriever.embedder


def is_closed(live: LiveRetriever) -> bool:
    try:
        with live.borrow():
            return False
    except ValueError:
        return True


def test_an_interval_without_a_pause_is_refused(nights: Path) -> None:
    with pytest.raises(ValueError, match="interval must be above 0, got 0"):
        LiveRetriever(nights, interval=0)
