"""Load comes when it is due, whoever is ready; the figures of so small a shop mean nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.refresh.toy_store import ALLOW, write_catalogue, write_model
from benchmarks.retrieval import query_load, request_schedule
from benchmarks.retrieval.query_load import Setting, together, under_load
from benchmarks.retrieval.request_schedule import RequestSchedule
from benchmarks.retrieval.trained_shop import TrainedShop, make_trained_shop

DOCUMENTS = ["a", "b", "c"]


def instant(documents: Sequence[str]) -> list[str]:
    return list(documents)


def slow(documents: Sequence[str]) -> list[str]:
    time.sleep(0.02)
    return list(documents)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TrainedShop:
    """With a model that is not trained."""
    home = tmp_path_factory.mktemp("home")
    write_model(home, write_catalogue(home / "learned", 300, seed=1), "tiny", seed=0)
    return make_trained_shop(home, 300, ALLOW)


def test_arrivals_come_at_the_rate_at_random_and_the_same_again() -> None:
    schedule, again = (RequestSchedule.poisson(1000, 10, seed=3) for _ in range(2))
    assert len(schedule) == 10_000
    assert schedule.end == pytest.approx(10, rel=0.05)
    assert schedule.end == again.end
    assert schedule.end != RequestSchedule.poisson(1000, 10, seed=4).end


def test_a_request_is_not_taken_before_it_arrives() -> None:
    schedule = RequestSchedule(np.array([0.05, 0.05, 60.0]))
    schedule.start()
    assert schedule.take(8) == range(2), "the third is not there yet"
    assert schedule.seconds() >= 0.05


def test_no_more_are_taken_at_once_than_asked_for() -> None:
    schedule = RequestSchedule(np.zeros(5))
    assert [schedule.take(2) for _ in range(4)] == [range(2), range(2, 4), range(4, 5), range(0)]


def test_each_request_is_answered_once_whoever_takes_it() -> None:
    answered: list[str] = []
    turn = threading.Lock()

    def kept(documents: Sequence[str]) -> list[str]:
        with turn:
            answered.extend(documents)
        return list(documents)

    documents = [str(number) for number in range(200)]
    found = under_load(kept, documents, RequestSchedule(np.zeros(200)), Setting(workers=4, threads=1))
    # Each worker asks the first once before the load.
    assert sorted(answered) == sorted(documents + ["0"] * 4)
    assert found["answered"] == found["arrivals"] == 200


def test_waiting_for_a_worker_is_part_of_a_latency() -> None:
    found = under_load(slow, DOCUMENTS, RequestSchedule(np.zeros(10)), Setting(workers=1, threads=1))
    # Each takes 20 ms, and the last has waited for nine.
    assert found["max_ms"] >= 200
    assert found["p50_ms"] >= 100
    assert found["behind"], "all had arrived at once"


def test_requests_that_wait_share_a_call_where_they_may() -> None:
    found = under_load(slow, DOCUMENTS, RequestSchedule(np.zeros(10)), Setting(workers=1, threads=1, at_once=5))
    assert found["requests_a_call"] == 5


def test_workers_that_fall_behind_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_schedule, "_BEHIND", 0.05)
    found = under_load(slow, DOCUMENTS, RequestSchedule(np.zeros(1000)), Setting(workers=1, threads=1))
    assert found["behind"]
    assert found["answered"] < 100


def test_an_error_of_a_worker_is_not_lost() -> None:
    def fails(documents: Sequence[str]) -> list[str]:
        raise LookupError("no such product")

    with pytest.raises(LookupError, match="no such product"):
        under_load(fails, DOCUMENTS, RequestSchedule(np.zeros(3)), Setting(workers=1, threads=1))


def test_calls_of_several_sessions_count_sessions() -> None:
    found = together(slow, DOCUMENTS * 4, threads=1, size=6, seconds=0.1)
    assert found["sessions_per_second"] == pytest.approx(6 / found["p50_ms"] * 1000, rel=0.5)


def test_a_report_has_every_setting_and_is_shown_as_it_was(
    shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    sizes = "--rates 20 --seconds 0.2 --workers 1 2 --threads 1 --at-once 1 4 --together 1 8 --sessions 16"
    query_load.main([str(shop.home), *sizes.split(), "--waiting", "passive", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "a report is published: no paths"
    found = report["waiting"]["passive"]
    assert [(one["workers"], one["at_once"]) for one in found["loads"]] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert [one["size"] for one in found["together"]] == [1, 8]
    assert all(one["answered"] == 4 and one["p50_ms"] > 0 for one in found["loads"])
    measured = capsys.readouterr().out
    assert "300 products" in measured
    query_load.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the kept report alone"
