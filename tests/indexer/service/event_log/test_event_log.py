"""What is logged is in the files; a disk that refuses costs no request anything."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from indexer.search.answer import Answer, Match
from indexer.service.event_log.event_log import EventLog
from indexer.service.sessions.event import Event
from indexer.service.sessions.session_store import ShownAnswer
from indexer.service.settings import ServiceSettings
from tests.small_disk import new_small_disk, on_small_disk
from ubm_embed.data.corpus import INTERACTIONS_FILE
from ubm_embed.data.interactions import read_interactions
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.data.session import Action, Interaction, Product

NEVER = 3_600.0


def view(product_id: str, moment: float = 1_700_000_000.0, event_id: str | None = None) -> Event:
    return Event(Interaction(Action.VIEW, product_id=product_id), moment, event_id)


def search(query: str, moment: float) -> Event:
    return Event(Interaction(Action.SEARCH, query=query), moment)


def matches(*product_ids: str) -> tuple[Match, ...]:
    return tuple(Match(rank, one, 0.5, one) for rank, one in enumerate(product_ids, start=1))


def files(folder: Path) -> list[Path]:
    """Those that are finished."""
    return sorted(folder.rglob("[!.]*.parquet"))


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in 60 s"
        time.sleep(0.005)


class Observer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.failed = self.dropped = 0

    def event_log_failed(self) -> None:
        self.failed += 1

    def event_log_dropped(self, number: int) -> None:
        self.dropped += number


class TestFiles:
    def test_events(self, tmp_path: Path) -> None:
        product = Product("red shoes", "shoes", (("colour", "red"),), "p2")
        with closing(EventLog(tmp_path, NEVER)) as log:
            log.add_events("s", [view("p1", 1_700_000_000.25, "e1"), search("red", 1_700_000_001)])
            log.add_events("s", [Event(Interaction(Action.BUY, product=product), 1_700_000_002, "e2", "answer")])
        frame = pl.read_parquet(tmp_path / "events")
        nothing = dict.fromkeys(("product_id", "query", "title", "category", "attributes", "message_id", "answer_id"))
        assert frame.with_columns(pl.col("timestamp").dt.epoch("ms")).to_dicts() == [
            nothing
            | {
                "session_id": "s",
                "timestamp": 1_700_000_000_250,
                "action": "view",
                "product_id": "p1",
                "message_id": "s/e1",
            },
            nothing | {"session_id": "s", "timestamp": 1_700_000_001_000, "action": "search", "query": "red"},
            {
                "session_id": "s",
                "timestamp": 1_700_000_002_000,
                "action": "buy",
                "product_id": "p2",
                "query": None,
                "title": "red shoes",
                "category": "shoes",
                "attributes": [{"name": "colour", "value": "red"}],
                "message_id": "s/e2",
                "answer_id": "answer",
            },
        ]

    def test_answers(self, tmp_path: Path) -> None:
        answer = Answer("s", 3, "model", None, (), 1.5, matches("p1", "p2"))
        popular = Answer(None, 3, "model", "empty session", (), 0.5, (Match(1, "p1", None, None),))
        with closing(EventLog(tmp_path, NEVER)) as log:
            log.add_answer("s", ShownAnswer("a1", 1_700_000_000, 3, "a+b", ("p1", "p2"), (1, 0)), answer, 10)
            log.add_answer(None, ShownAnswer("a2", 1_700_000_001, 3, "", ("p1",)), popular, 1)
        frame = pl.read_parquet(tmp_path / "answers").with_columns(pl.col("timestamp").dt.epoch("s"))
        same = {"version": 3, "model_id": "model"}
        assert frame.to_dicts() == [
            same
            | {"answer_id": "a1", "session_id": "s", "timestamp": 1_700_000_000, "arm": "a+b", "fallback": None}
            | {"product_ids": ["p1", "p2"], "scores": [0.5, 0.5], "teams": [1, 0], "k": 10, "took_ms": 1.5},
            same
            | {
                "answer_id": "a2",
                "session_id": None,
                "timestamp": 1_700_000_001,
                "arm": "",
                "fallback": "empty session",
            }
            | {"product_ids": ["p1"], "scores": [None], "teams": [], "k": 1, "took_ms": 0.5},
        ]

    def test_a_file_is_written_after_some_seconds(self, tmp_path: Path) -> None:
        with closing(EventLog(tmp_path, 0.01)) as log:
            log.add_events("s", [view("p1")])
            wait_until(lambda: len(files(tmp_path)) == 1)
            log.add_events("s", [view("p2")])
            wait_until(lambda: len(files(tmp_path)) == 2)
        assert [pl.read_parquet(file)["product_id"].to_list() for file in files(tmp_path)] == [["p1"], ["p2"]]

    def test_a_file_is_written_when_half_of_the_memory_is_used(self, tmp_path: Path) -> None:
        with closing(EventLog(tmp_path, NEVER, max_bytes=10_000)) as log:
            for number in range(15):
                log.add_events("s", [view(f"p{number}")])
            wait_until(lambda: bool(files(tmp_path)))
            assert log.dropped == 0

    def test_no_file_is_written_where_nothing_happened(self, tmp_path: Path) -> None:
        EventLog(tmp_path / "log", 0.01).close()
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_several_logs_share_a_folder(self, tmp_path: Path) -> None:
        logs = [EventLog(tmp_path, NEVER) for _ in range(3)]
        for log in logs:
            log.add_events("s", [view("p1")])
            log.close()
        assert pl.read_parquet(tmp_path / "events").height == 3
        name = rf"\d{{8}}T\d{{6}}\.\d{{6}}Z-{os.getpid()}-[0-9a-f]{{12}}\.parquet"
        assert all(re.fullmatch(name, file.name) for file in files(tmp_path))

    def test_what_a_killed_process_left_is_removed_and_what_is_being_written_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "events").mkdir()
        old, new, other = (
            tmp_path / "events" / name for name in (".a.parquet.0.partial", ".b.parquet.0.partial", "notes")
        )
        for file in (old, new, other):
            file.touch()
        for file in (old, other):
            os.utime(file, (0, 0))
        EventLog(tmp_path, NEVER).close()
        assert set((tmp_path / "events").iterdir()) == {new, other}

    @pytest.mark.parametrize("moment", [-1e30, -1.0, 1e30, float("inf"), float("nan")])
    def test_any_clock_and_any_text_can_be_logged(self, tmp_path: Path, moment: float) -> None:
        with closing(EventLog(tmp_path, NEVER)) as log:
            log.add_events("\ud83d\0", [view("é\udc00", moment, "\ud83d"), search("", moment)])
        assert pl.read_parquet(tmp_path / "events").height == 2
        assert log.dropped == 0

    def test_it_is_opened_from_settings(self, tmp_path: Path) -> None:
        with closing(EventLog.open(ServiceSettings(store="x", event_log=tmp_path, event_log_seconds=0.01))) as log:
            log.add_events("s", [view("p1")])
            wait_until(lambda: bool(files(tmp_path)))


class TestIngest:
    def test_events_become_the_sessions_that_they_were(self, tmp_path: Path, products_file: Path) -> None:
        """Of two workers, out of order, and with an event that was sent twice."""
        first, second = EventLog(tmp_path / "log", NEVER), EventLog(tmp_path / "log", NEVER)
        first.add_events("s1", [view("p1", 100.0, "1"), search("red shirt", 101.5)])
        second.add_events("s2", [view("p2", 100.0, "1"), view("p2", 101.0, "2")])
        second.add_events("s1", [view("p3", 103.0, "3"), view("p1", 100.0, "1")])
        first.add_events("s1", [Event(Interaction(Action.ADD, product_id="p3"), 104.0), view("p4", 102.0, "4")])
        first.close()
        second.close()
        ingest([tmp_path / "log" / "events"], kind="native", out=tmp_path / "corpus", catalogue=products_file)
        rows = read_interactions(tmp_path / "corpus" / INTERACTIONS_FILE).select(
            "session_id", "action", pl.coalesce("product_id", "query")
        )
        assert sorted(rows.rows()) == sorted(
            [
                ("s1", "view", "p1"),
                ("s1", "search", "red shirt"),
                ("s1", "view", "p4"),
                ("s1", "view", "p3"),
                ("s1", "add", "p3"),
                ("s2", "view", "p2"),
            ]
        )
        assert rows.filter(pl.col("session_id") == "s1")["product_id"].to_list() == [
            "p1",
            "red shirt",
            "p4",
            "p3",
            "p3",
        ]


class TestTroubles:
    def test_a_folder_that_cannot_be_written_to_is_told_at_the_start(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "log").write_text("a file where the folder should be")
        caplog.set_level(logging.WARNING)
        with closing(EventLog(tmp_path / "log", 0.01)) as log:
            wait_until(lambda: log.failures >= 3)
            (tmp_path / "log").unlink()
            wait_until(lambda: len(caplog.records) == 2)
        cannot, again = (record.getMessage() for record in caplog.records)
        assert cannot.startswith("the event log cannot be written: ")
        assert again.startswith("the event log is written again")

    def test_an_outage_is_told_once_and_nothing_is_lost(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        folder, observer = tmp_path / "log", Observer()
        folder.write_text("a file where the folder should be")
        caplog.set_level(logging.WARNING)
        with closing(EventLog(folder, 0.01, observer)) as log:
            log.add_events("s", [view("p1")])
            wait_until(lambda: log.failures >= 3)
            log.add_events("s", [view("p2")])
            folder.unlink()
            wait_until(lambda: bool(files(tmp_path)))
            assert pl.read_parquet(folder / "events")["product_id"].to_list() == ["p1", "p2"]
        assert observer.failed == log.failures
        assert log.dropped == observer.dropped == 0
        cannot, again = (record.getMessage() for record in caplog.records)
        assert cannot.startswith("the event log cannot be written: ")
        assert "answers go on, " in cannot
        assert again == "the event log is written again; 0 events and answers are lost"

    def test_a_folder_that_was_removed_is_made_again(self, tmp_path: Path) -> None:
        with closing(EventLog(tmp_path / "log", 0.01)) as log:
            log.add_events("s", [view("p1")])
            wait_until(lambda: bool(files(tmp_path)))
            shutil.rmtree(tmp_path / "log")
            log.add_events("s", [view("p2")])
            wait_until(lambda: bool(files(tmp_path)))

    def test_memory_is_bounded_and_what_is_lost_is_counted(self, tmp_path: Path) -> None:
        (tmp_path / "log").touch()
        observer = Observer()
        log = EventLog(tmp_path / "log", NEVER, observer, max_bytes=100_000)
        for number in range(10_000):
            log.add_events("s", [view(f"p{number}")])
        assert 5_000 < log.dropped < 10_000
        log.close()
        assert log.dropped == observer.dropped == 10_000

    def test_a_row_larger_than_the_memory_is_lost_alone(self, tmp_path: Path) -> None:
        with closing(EventLog(tmp_path, NEVER, max_bytes=10_000)) as log:
            log.add_events("s", [view("p1"), view("p" * 100_000), view("p2")])
        assert log.dropped == 1
        assert pl.read_parquet(tmp_path / "events")["product_id"].to_list() == ["p1", "p2"]

    def test_rows_that_are_no_parquet_do_not_hold_up_others(self, tmp_path: Path) -> None:
        with closing(EventLog(tmp_path, 0.01)) as log:
            shown = ShownAnswer("a", 1.0, 1, "", ("p1",))
            log.add_answer("s", shown, Answer("s", 1, "m", None, (), 0.0, matches("p1")), 1 << 40)
            wait_until(lambda: log.dropped == 1)
            log.add_answer("s", shown, Answer("s", 1, "m", None, (), 0.0, matches("p1")), 1)
        assert pl.read_parquet(tmp_path / "answers").height == 1

    def test_what_comes_after_the_end_is_lost(self, tmp_path: Path) -> None:
        log = EventLog(tmp_path, NEVER)
        log.close()
        log.add_events("s", [view("p1")])
        assert log.dropped == 1


ON_A_FULL_DISK = """
import os, sys, time
from pathlib import Path
from indexer.service.event_log.event_log import EventLog
from indexer.service.sessions.event import Event
from ubm_embed.data.session import Action, Interaction

folder = Path(sys.argv[1])
(folder / "other").write_bytes(bytes(56_000))
log = EventLog(folder, 0.01)
for number in range(200):
    log.add_events("s", [Event(Interaction(Action.VIEW, product_id=os.urandom(100).hex()), 1.0)])
while log.failures < 3:
    time.sleep(0.005)
left = sorted(path.name for path in folder.rglob("*") if path.is_file())
(folder / "other").unlink()
log.close()
import pyarrow.parquet
rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in folder.rglob("*.parquet"))
print(left, rows, log.dropped)
"""


def test_on_a_full_disk_rows_wait_and_no_part_of_a_file_stays(tmp_path: Path) -> None:
    disk = new_small_disk(tmp_path)
    ran = on_small_disk(disk, sys.executable, "-c", ON_A_FULL_DISK, disk)
    assert ran.stdout == "['other'] 200 0\nleft: answers\nevents\n", ran.stderr
    assert "No space left on device" in ran.stderr
