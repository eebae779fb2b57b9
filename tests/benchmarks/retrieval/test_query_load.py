"""Requests arrive on schedule, ready or not; the figures of so small a shop mean nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import RESULTS
from benchmarks.retrieval import query_load
from benchmarks.retrieval.query_load import Setting, closed_loop, open_loop
from benchmarks.retrieval.request_schedule import RequestSchedule
from benchmarks.retrieval.shop_home import TrainedShop

DOCUMENTS = ["a", "b", "c"]
SERVICE = 0.02  # seconds that an answer takes


class Clock:
    """A clock that only moves when somebody sleeps or answers, so that no machine is too busy for a test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, documents: Sequence[str]) -> list[str]:
        self.sleep(SERVICE)
        return list(documents)

    def schedule(self, times: Sequence[float], **options: float) -> RequestSchedule:
        return RequestSchedule(np.array(times), clock=self, sleep=self.sleep, **options)


def test_arrivals_are_random_at_the_given_rate_and_reproducible() -> None:
    schedule, again = (RequestSchedule.poisson(1000, 10, seed=3) for _ in range(2))
    assert len(schedule) == 10_000
    assert schedule.end == pytest.approx(10, rel=0.05)
    assert schedule.end == again.end
    assert schedule.end != RequestSchedule.poisson(1000, 10, seed=4).end


def test_a_request_is_not_taken_before_it_arrives() -> None:
    clock = Clock()
    schedule = clock.schedule([0.05, 0.05, 60.0])
    schedule.start()
    assert schedule.take(8) == range(2), "the third has not arrived yet"
    assert schedule.seconds() == 0.05


def test_no_more_requests_are_taken_than_allowed() -> None:
    schedule = Clock().schedule([0.0] * 5)
    assert [schedule.take(2) for _ in range(4)] == [range(2), range(2, 4), range(4, 5), range(0)]


def test_each_request_is_answered_once_by_any_of_several_workers() -> None:
    answered: list[str] = []
    lock = threading.Lock()

    def answer(documents: Sequence[str]) -> list[str]:
        with lock:
            answered.extend(documents)
        return list(documents)

    documents = [str(number) for number in range(200)]
    # The real clock, with no limit on how long the threads of a busy machine may take.
    schedule = RequestSchedule(np.zeros(200), max_wait=np.inf)
    figures = open_loop(answer, documents, schedule, Setting(workers=4, threads=1))
    # Each worker answers the first document once before the load.
    assert sorted(answered) == sorted(documents + ["0"] * 4)
    assert figures["answered"] == figures["arrivals"] == 200


def test_waiting_for_a_worker_is_part_of_a_latency() -> None:
    clock = Clock()
    figures = open_loop(clock.answer, DOCUMENTS, clock.schedule([0.0] * 10), Setting(workers=1, threads=1))
    assert figures["max_ms"] == pytest.approx(10 * 1000 * SERVICE), "the last one waited for nine others"
    assert figures["p50_ms"] == pytest.approx(5.5 * 1000 * SERVICE)
    assert figures["overloaded"], "all arrived at once"


def test_waiting_requests_share_a_call_where_allowed() -> None:
    clock = Clock()
    setting = Setting(workers=1, threads=1, max_batch=5)
    figures = open_loop(clock.answer, DOCUMENTS, clock.schedule([0.0] * 10), setting)
    assert figures["requests_a_call"] == 5
    assert figures["max_ms"] == pytest.approx(2 * 1000 * SERVICE)


def test_workers_that_keep_up_are_not_overloaded() -> None:
    clock = Clock()
    times = [2 * SERVICE * number for number in range(100)]
    figures = open_loop(clock.answer, DOCUMENTS, clock.schedule(times), Setting(workers=1, threads=1))
    assert figures["max_ms"] == pytest.approx(1000 * SERVICE)
    assert not figures["overloaded"]


def test_overloaded_workers_are_stopped() -> None:
    clock = Clock()
    schedule = clock.schedule([0.0] * 1000, max_wait=2.5 * SERVICE)
    figures = open_loop(clock.answer, DOCUMENTS, schedule, Setting(workers=1, threads=1))
    assert figures["overloaded"]
    assert figures["answered"] == 4, "the fourth had waited for three answers"


def test_an_error_of_a_worker_is_raised() -> None:
    def fails(documents: Sequence[str]) -> list[str]:
        raise LookupError("no such product")

    with pytest.raises(LookupError, match="no such product"):
        open_loop(fails, DOCUMENTS, Clock().schedule([0.0] * 3), Setting(workers=1, threads=1))


def test_the_closed_loop_counts_sessions() -> None:
    clock = Clock()
    figures = closed_loop(clock.answer, DOCUMENTS * 4, threads=1, size=6, seconds=0.1, clock=clock)
    assert figures["calls"] == 5
    assert figures["sessions_per_second"] == pytest.approx(6 / SERVICE)


def test_a_report_has_every_setting_and_can_be_printed_again(
    shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    sizes = "--rates 20 --seconds 0.2 --workers 1 2 --threads 1 --max-batch 1 4 --batch-sizes 1 8 --sessions 16"
    query_load.main([str(shop.home), *sizes.split(), "--wait-policies", "passive", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    figures = report["wait_policies"]["passive"]
    assert [(one["workers"], one["max_batch"]) for one in figures["open_loop"]] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert [one["size"] for one in figures["closed_loop"]] == [1, 8]
    assert all(one["answered"] == 4 and one["p50_ms"] > 0 for one in figures["open_loop"])
    measured = capsys.readouterr().out
    assert "1,200 products" in measured
    query_load.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_earlier_reports_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    query_load.main(["--show", str(RESULTS / "query_load.json")])
    assert "1,000,000 products" in capsys.readouterr().out
