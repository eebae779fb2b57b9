"""What the engine promises to those who ask at once: their own answers, of one version, in time or not at all."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from indexer.catalogue.product_file import PRODUCTS_FILE
from indexer.search.answer import Answer
from indexer.search.query import Query, Timings
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.service.engine import engine as engine_module
from indexer.service.engine.engine import Answered, Engine
from indexer.service.engine.overload import Overloaded
from indexer.service.experiments.arm_rules import require_fitting_rules
from indexer.service.experiments.experiment import Arm
from indexer.store.embedding_store import version_folder
from tests.indexer.service.engine.conftest import SECONDS, Hold, Recorder, Run, publish
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import InvalidData, NotFound


def query(*product_ids: str, name: str = "s", **options: Any) -> Query:
    views = tuple(Interaction(Action.VIEW, product_id=product_id) for product_id in product_ids)
    return Query(Session(views, name), **options)


def assert_same(answers: Sequence[Answer], expected: Sequence[Answer]) -> None:
    """Equal but for rounding, which depends on what else is read at once."""
    for answer, other in zip(answers, expected, strict=True):
        assert [match.product_id for match in answer.matches] == [match.product_id for match in other.matches]
        assert (answer.fallback, answer.unknown) == (other.fallback, other.unknown)
        for match, same in zip(answer.matches, other.matches, strict=True):
            assert match.score == pytest.approx(same.score, abs=1e-5)
            assert (match.reasons is None) == (same.reasons is None)


async def begun(hold: Hold) -> None:
    assert await asyncio.to_thread(hold.begun.wait, SECONDS)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


async def held(engine: Engine, hold: Hold) -> asyncio.Task[Any]:
    """The fast lane is busy until the hold lets it go."""
    task = asyncio.create_task(engine.call(hold))
    await begun(hold)
    return task


async def asked(engine: Engine, *requests: Sequence[Query]) -> list[asyncio.Task[Answered]]:
    """Requests that wait."""
    tasks = [asyncio.create_task(engine.answer(request)) for request in requests]
    await asyncio.sleep(0)
    return tasks


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[str | None]]:
    """The sessions of each batch that a retriever was asked; it fails if one of them is "bad"."""
    batches: list[list[str | None]] = []
    answer = Retriever.answer

    def recorded(retriever: Retriever, queries: Sequence[Query], timings: Timings | None = None) -> list[Answer]:
        names = [query.session.session_id for query in queries]
        batches.append(names)
        if "bad" in names:
            raise RuntimeError("a bad session")
        return answer(retriever, queries, timings)

    monkeypatch.setattr(Retriever, "answer", recorded)
    return batches


class TestAnswers:
    def test_are_those_of_the_retriever(self, store: Path, run_engine: Run) -> None:
        queries = [
            query("p1"),
            query("p2", k=3, rules=Rules(where="price > 2", diversity=0.3)),
            query("p3", "p1", explain=True),
            query(),
            query("p4", negatives=(Interaction(Action.VIEW, product_id="p8"),)),
        ]

        async def ask() -> tuple[Answered, list[Answered]]:
            async with run_engine(store) as engine:
                return await engine.answer(queries), await asyncio.gather(*(engine.answer([one]) for one in queries))

        together, alone = asyncio.run(ask())
        with Retriever.open(store, device="cpu") as retriever:
            expected = retriever.answer(queries)
        assert_same(together.answers, expected)
        assert_same([one.answers[0] for one in alone], expected)
        assert together.version == 1
        assert together.timings.search > 0
        assert together.timings.queue >= 0

    def test_what_waits_is_answered_at_once(
        self, store: Path, run_engine: Run, observer: Recorder, read: list[list[str | None]]
    ) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                hold = Hold()
                first = await held(engine, hold)
                read.clear()
                tasks = await asked(engine, [query("p1", name="a")], [query("p2", name="b"), query("p3", name="c")])
                hold.let_go()
                answers = [answer for task in tasks for answer in (await task).answers]
                await first
                assert [answer.session_id for answer in answers] == ["a", "b", "c"]

        asyncio.run(ask())
        assert read == [["a", "b", "c"]]
        assert observer.batches[-1] == ("fast", "empty", 3)

    def test_a_batch_is_delivered_by_one_call_to_the_loop(
        self, store: Path, run_engine: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def ask() -> int:
            async with run_engine(store) as engine:
                hold, calls = Hold(), list[object]()
                first = await held(engine, hold)
                tasks = await asked(engine, *([query("p1")] for _ in range(5)))
                loop = asyncio.get_running_loop()
                deliver = loop.call_soon_threadsafe
                monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: (calls.append(call), deliver(*call))[1])
                hold.let_go()
                await asyncio.gather(first, *tasks)
                return len(calls)

        assert asyncio.run(ask()) == 2  # of the call that held it, and of the batch

    def test_no_queries_no_answers(self, store: Path, run_engine: Run) -> None:
        async def ask() -> Answered:
            async with run_engine(store) as engine:
                return await engine.answer([])

        answered = asyncio.run(ask())
        assert (answered.answers, answered.version) == ((), 1)


class TestFaults:
    def test_only_the_faulty_one_gets_the_error(
        self, store: Path, run_engine: Run, read: list[list[str | None]]
    ) -> None:
        async def ask() -> list[Any]:
            async with run_engine(store) as engine:
                hold = Hold()
                first = await held(engine, hold)
                tasks = await asked(
                    engine,
                    [query("p1", name="a")],
                    [query("p2", name="b"), query("p3", name="bad"), query("p3", name="c")],
                    [query("p4", name="d")],
                )
                hold.let_go()
                await first
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert engine.waiting == 0
                return results

        first, second, third = asyncio.run(ask())
        assert [one.answers[0].session_id for one in (first, third)] == ["a", "d"]
        assert isinstance(second, RuntimeError)
        assert read[1:] == [["a", "b", "bad", "c", "d"], ["a"], ["b"], ["bad"], ["d"]]

    def test_what_a_call_raises_is_raised(self, store: Path, run_engine: Run) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                called = await engine.call(lambda retriever: len(retriever.catalogue))
                assert (called.value, called.version) == (8, 1)
                with pytest.raises(NotFound, match="no product 'x'"):
                    await engine.call(lambda retriever: retriever.lookup_id("x"))
                assert (await engine.call(lambda retriever: retriever.lookup_id("p1", 2))).value.version == 1

        asyncio.run(ask())

    def test_a_request_beyond_a_limit_is_refused_before_it_waits(
        self, store: Path, run_engine: Run, observer: Recorder
    ) -> None:
        async def ask() -> None:
            async with run_engine(store, max_k=5, max_sessions=2) as engine:
                with pytest.raises(InvalidData, match="'k': expected at most 5, got 6"):
                    await engine.answer([query("p1", k=6)])
                with pytest.raises(InvalidData, match="sessions"):
                    await engine.answer([query("p1")] * 3)

        asyncio.run(ask())
        assert observer.batches == []

    def test_an_observer_that_fails_keeps_nobody_waiting(
        self, store: Path, run_engine: Run, observer: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                with monkeypatch.context() as patch:
                    patch.setattr(observer, "batch_released", lambda *_: 1 // 0)
                    with pytest.raises(ZeroDivisionError):
                        await engine.answer([query("p1")])
                assert (await engine.answer([query("p1")])).version == 1

        asyncio.run(ask())


class TestWaiting:
    def test_a_request_whose_caller_has_gone_is_not_worked(
        self, store: Path, run_engine: Run, observer: Recorder, read: list[list[str | None]]
    ) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                hold = Hold()
                first = await held(engine, hold)
                gone, stays = await asked(engine, [query("p1", name="gone")] * 2, [query("p1", name="stays")])
                gone.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await gone
                assert engine.waiting == 4  # until the lane has let go of it
                hold.let_go()
                await asyncio.gather(first, stays)
                assert engine.waiting == 0

        asyncio.run(ask())
        assert read[1:] == [["stays"]]
        assert observer.drops == [("cancelled", 2)]

    def test_a_request_whose_time_is_over_is_refused_at_once_and_not_worked(
        self, store: Path, run_engine: Run, observer: Recorder, read: list[list[str | None]]
    ) -> None:
        async def ask() -> None:
            async with run_engine(store, timeout=0.05) as engine:
                hold = Hold()
                first = await held(engine, hold)
                with pytest.raises(Overloaded) as caught:  # while the lane is still held
                    await engine.answer([query("p1", name="late")])
                assert (caught.value.reason, caught.value.retry_after) == ("timeout", 1)
                hold.let_go()
                await first
                await until(lambda: engine.waiting == 0)

        asyncio.run(ask())
        assert read[1:] == []
        assert observer.drops == [("timeout", 1)]

    @pytest.mark.parametrize("sizes", [[1, 1, 1], [3], [2, 1]])
    def test_beyond_the_bound_everything_is_refused_by_one_rule(
        self, store: Path, run_engine: Run, observer: Recorder, sizes: list[int]
    ) -> None:
        async def ask() -> None:
            async with run_engine(store, max_waiting=4) as engine:
                hold = Hold()
                first = await held(engine, hold)
                tasks = await asked(engine, *([query("p1")] * size for size in sizes))
                for request in ([query("p1")], [query("p1")] * 2, [query("p1", explain=True)]):
                    with pytest.raises(Overloaded) as caught:
                        await engine.answer(request)
                    assert caught.value.reason == "queue"
                hold.let_go()
                await asyncio.gather(first, *tasks)
                assert (await engine.answer([query("p1")] * 4)).version == 1

        asyncio.run(ask())
        assert observer.most_waiting == 4

    def test_a_large_request_does_not_hold_up_a_small_one(
        self, store: Path, run_engine: Run, read: list[list[str | None]]
    ) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                hold = Hold()
                first = await held(engine, hold)
                large, small = await asked(engine, [query("p1", name="large")] * 60, [query("p2", name="small")])
                hold.let_go()
                await asyncio.gather(first, small)
                assert len((await large).answers) == 60

        asyncio.run(ask())
        assert read[1:3] == [["large"] * 8 + ["small"], ["large"] * 8]

    def test_what_waits_is_answered_before_it_closes(self, store: Path, run_engine: Run) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                hold = Hold()
                first = await held(engine, hold)
                tasks = await asked(engine, *([query("p1")] * 20 for _ in range(3)))
                closing = asyncio.create_task(engine.close())
                await asyncio.sleep(0)
                with pytest.raises(ValueError, match="the engine is not running"):
                    await engine.answer([query("p1")])
                assert engine.readiness == ["the engine is not running"]
                hold.let_go()
                await asyncio.gather(first, closing)
                assert [len(task.result().answers) for task in tasks] == [20] * 3

        asyncio.run(ask())


class TestSlowLane:
    def test_a_new_condition_does_not_hold_up_others(
        self, store: Path, run_engine: Run, observer: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on = threading.Event()
        compiled = Retriever.has_compiled
        answer = Retriever.answer

        def slow(retriever: Retriever, queries: Sequence[Query], timings: Timings | None = None) -> list[Answer]:
            if any(not compiled(retriever, query.rules) for query in queries):
                assert go_on.wait(SECONDS)
            return answer(retriever, queries, timings)

        async def ask() -> None:
            filtered = query("p1", rules=Rules(where="price > 3"))
            async with run_engine(store) as engine:
                monkeypatch.setattr(Retriever, "answer", slow)
                (waits,) = await asked(engine, [filtered])
                assert (await engine.answer([query("p1")])).version == 1
                assert not waits.done()
                go_on.set()
                first = await waits
                observer.batches.clear()
                assert_same((await engine.answer([filtered])).answers, first.answers)

        asyncio.run(ask())
        assert observer.batches == [("fast", "empty", 1)]

    @pytest.mark.parametrize(
        "request_",
        [query("p1", explain=True), query("p1", k=101), query("p1", rules=Rules(max_per={"category": 1}))],
    )
    def test_what_takes_long_goes_there(
        self, store: Path, run_engine: Run, observer: Recorder, request_: Query
    ) -> None:
        async def ask(work: Callable[[Engine], Awaitable[object]]) -> None:
            async with run_engine(store) as engine:
                await work(engine)

        asyncio.run(ask(lambda engine: engine.answer([request_])))
        assert [lane for lane, *_ in observer.batches] == ["slow"]

    def test_a_session_of_which_hardly_anything_is_cached_goes_there_once(
        self, store: Path, run_engine: Run, observer: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine_module, "_MAX_UNREAD", 2)

        async def ask() -> None:
            async with run_engine(store) as engine:
                for _ in range(2):
                    await engine.answer([query("p3", "p4", "p5")])

        asyncio.run(ask())
        assert [lane for lane, *_ in observer.batches] == ["slow", "fast"]

    def test_a_large_call_goes_there(self, store: Path, run_engine: Run, observer: Recorder) -> None:
        async def ask() -> None:
            async with run_engine(store) as engine:
                await engine.call(lambda _: None, cost=50)
                await engine.call(lambda _: None, rules=Rules(where="price > 3"))
                await engine.call(lambda _: None, rules=Rules(exclude=frozenset({"p1"})))

        asyncio.run(ask())
        assert [lane for lane, *_ in observer.batches] == ["slow", "slow", "fast"]


class TestVersions:
    def test_a_request_is_answered_by_one_version_while_another_takes_over(
        self, nights: Path, run_engine: Run, read: list[list[str | None]]
    ) -> None:
        async def ask() -> None:
            async with run_engine(nights) as engine:
                hold = Hold()
                large, *_ = await asked(engine, [query("p1")] * 20)
                await until(lambda: bool(read))  # its first slice has begun
                first = await held(engine, hold)
                publish(nights, 2)
                assert await engine.reload()
                (later,) = await asked(engine, [query("p1")] * 20)
                hold.let_go()
                await first
                for task, number in ((large, 3), (later, 2)):
                    answered = await task
                    assert answered.version == number
                    assert {answer.version for answer in answered.answers} == {number}
                    prices = {match.fields["price"] for answer in answered.answers for match in answer.matches}
                    assert prices == {float(number)}

        asyncio.run(ask())

    def test_swaps_under_load_fail_and_mix_nothing(self, nights: Path, run_engine: Run) -> None:
        async def ask() -> None:
            async with run_engine(nights) as engine:
                stop, seen = asyncio.Event(), set[int]()

                async def client(size: int) -> None:
                    while not stop.is_set():
                        answered = await engine.answer([query("p1", "p2")] * size)
                        versions = {answer.version for answer in answered.answers}
                        assert versions == {answered.version}
                        seen.add(answered.version)

                clients = [asyncio.create_task(client(size)) for size in (1, 1, 3, 20)]
                for number in (1, 2, 3, 1, 2, 3):
                    publish(nights, number)
                    assert await engine.reload()
                    await until(lambda number=number: number in seen)  # type: ignore[misc]
                    seen.clear()
                stop.set()
                await asyncio.gather(*clients)

        asyncio.run(ask())

    def test_the_next_version_answers_the_last_sessions_before_it_takes_over(
        self, nights: Path, run_engine: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def ask() -> list[Session]:
            async with run_engine(nights) as engine:
                await engine.answer([query("p1"), query("p2")])
                warmed: list[Session] = []
                recommend = Retriever.recommend
                monkeypatch.setattr(Retriever, "recommend", lambda *ask: (warmed.append(ask[1]), recommend(*ask))[1])
                publish(nights, 2)
                assert await engine.reload()
                return warmed

        assert [one.interactions[0].product_id for one in asyncio.run(ask())] == ["p1", "p2"]

    def test_a_pinned_version_answers_beside_the_live_one(self, nights: Path, run_engine: Run) -> None:
        async def ask() -> None:
            async with run_engine(nights, (1,)) as engine:
                live, pinned = await asyncio.gather(
                    engine.answer([query("p1")]), engine.answer([query("p1")], pinned=1)
                )
                assert (live.version, pinned.version) == (3, 1)
                assert {match.fields["price"] for match in pinned.answers[0].matches} == {1.0}
                assert (await engine.call(lambda retriever: retriever.version.version, pinned=1)).value == 1
                publish(nights, 2)
                assert await engine.reload()
                assert (await engine.answer([query("p1")], pinned=1)).version == 1
                with pytest.raises(NotFound, match="version 2 is not open beside the live one; 1 is"):
                    await engine.answer([query("p1")], pinned=2)

        asyncio.run(ask())

    def test_a_pinned_version_that_is_not_there_is_an_error_at_once(self, nights: Path, run_engine: Run) -> None:
        async def ask() -> None:
            async with run_engine(nights, (9,)):
                pass

        with pytest.raises(NotFound):
            asyncio.run(ask())

    def test_a_version_that_is_refused_is_reported_and_the_one_before_goes_on(
        self, nights: Path, run_engine: Run, observer: Recorder
    ) -> None:
        async def ask() -> None:
            async with run_engine(nights) as engine:
                (nights / version_folder(2) / PRODUCTS_FILE).unlink()
                publish(nights, 2)
                assert not await engine.reload()
                assert isinstance(engine.error, InvalidData)
                assert engine.readiness == []
                assert (await engine.answer([query("p1")])).version == engine.version.version == 3

        asyncio.run(ask())
        assert [type(error) for error in observer.refused] == [InvalidData]

    def test_a_version_that_does_not_fit_the_arms_of_an_experiment_is_refused(
        self, nights: Path, run_engine: Run
    ) -> None:
        def verify(retriever: Retriever, pinned: int | None) -> None:
            if retriever.version.version == 2:  # as if it had lost the column
                arm = Arm(name="cheap", rules=Rules(where="prize = 3.0"))
                require_fitting_rules([arm], retriever, pinned)

        async def ask() -> None:
            async with run_engine(nights, (2,), verify) as engine:  # no arm asks the pinned one
                publish(nights, 2)
                assert not await engine.reload()
                assert "the rules of arm 'cheap' do not fit version 2: " in str(engine.error)
                assert (await engine.answer([query("p1")])).version == 3

        asyncio.run(ask())

    def test_a_file_that_is_cut_in_use_is_not_ready(self, nights: Path, run_engine: Run) -> None:
        async def ask() -> None:
            async with run_engine(nights) as engine:
                assert engine.readiness == []
                file = nights / version_folder(3) / PRODUCTS_FILE
                os.truncate(file, file.stat().st_size // 2)
                (problem,) = engine.readiness
                assert "changed while it was in use" in problem
                with pytest.raises(InvalidData, match="changed while it was in use"):
                    await engine.answer([query("p1")])

        asyncio.run(ask())
