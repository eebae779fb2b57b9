"""A supervisor with workers that only write down what happens to them, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = """
import os, select, signal, sys, time
from functools import partial
from indexer.service.processes.child import SIGNALS, Ready
from indexer.service.processes.supervisor import Supervisor
from ubm_embed.errors import NotFound

behaviour, said = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def say(*words):
    os.write(said, (" ".join(map(str, words)) + "\\n").encode())

def worker(number, parent):
    ending = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    signal.signal(signal.SIGHUP, lambda *_: say("reload", number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    say("start", number, os.getpid())
    if behaviour == "fails":
        raise NotFound("no such store")
    if behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    while behaviour == "late" and number and not ending:
        time.sleep(0.01)
    parent.report(Ready(3, 10))
    while not ending or behaviour == "hangs":
        if select.select([parent.lifeline], [], [], 0.01)[0]:
            break
    say("end", number)

def keeper(parent):
    say("keeper", os.getpid())
    select.select([parent.lifeline], [], [])

try:
    Supervisor(
        [partial(worker, number) for number in range(3)],
        run_keeper=keeper,
        grace=0.1 if behaviour == "hangs" else 60.0,
        on_ready=lambda ready: say("ready", *ready),
        on_stop=lambda: say("stop"),
        on_exit=lambda number: say("ended", number),
    ).run()
except NotFound as error:
    sys.exit(f"not found: {error}")
"""
LIMIT = 60.0


class Running:
    """A supervisor, and the lines that it and its workers wrote."""

    def __init__(self, file: Path, behaviour: str) -> None:
        self.file = file
        self._errors = file.with_suffix(".err")
        command = [sys.executable, "-c", PROGRAM, behaviour, str(file)]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stderr=errors)

    def lines(self, first: str) -> list[list[str]]:
        text = self.file.read_text("utf-8") if self.file.exists() else ""
        return [words for words in map(str.split, text.splitlines()) if words[0] == first]

    def wait_for(self, first: str, count: int) -> list[list[str]]:
        until(lambda: len(self.lines(first)) >= count)
        return self.lines(first)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(LIMIT)

    def errors(self) -> str:
        return self._errors.read_text("utf-8")

    def children(self) -> list[int]:
        return [int(words[-1]) for first in ("start", "keeper") for words in self.lines(first)]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    try:
        return "(zombie)" not in Path(f"/proc/{process_id}/status").read_text("ascii")
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    started: list[Running] = []

    def run(behaviour: str = "well") -> Running:
        started.append(Running(tmp_path / "said", behaviour))
        return started[-1]

    yield run
    for one in started:
        one.process.kill()
        one.process.wait()


def test_workers_start_reload_and_end(start: Callable[[str], Running]) -> None:
    service = start("well")
    assert service.wait_for("ready", 1) == [["ready", "3", "10"]]
    assert sorted(words[1] for words in service.lines("start")) == ["0", "1", "2"]
    service.send(signal.SIGHUP)
    assert sorted(words[1] for words in service.wait_for("reload", 3)) == ["0", "1", "2"]
    service.send(signal.SIGTERM)
    assert service.end() == 0
    assert len(service.lines("end")) == 3
    assert sorted(words[1] for words in service.lines("ended")) == ["0", "1", "2"]
    assert not any(map(is_alive, service.children()))


def test_what_dies_is_replaced(start: Callable[[str], Running]) -> None:
    service = start("well")
    service.wait_for("ready", 1)
    _, number, process_id = service.lines("start")[1]
    os.kill(int(process_id), signal.SIGKILL)
    assert service.wait_for("start", 4)[3][1] == number
    os.kill(int(service.lines("keeper")[0][1]), signal.SIGKILL)
    service.wait_for("keeper", 2)
    service.send(signal.SIGINT)
    assert service.end() == 0
    assert len(service.lines("ready")) == 1


def test_the_first_worker_says_why_the_service_does_not_start(start: Callable[[str], Running]) -> None:
    service = start("fails")
    assert service.end() == 1
    assert service.errors().endswith("not found: no such store\n")
    assert len(service.lines("start")) == 1
    assert not any(map(is_alive, service.children()))


def test_a_first_worker_that_dies_ends_the_start(start: Callable[[str], Running]) -> None:
    service = start("dies")
    assert service.end() == 1
    assert "worker 0 ended with code -9 before it answered" in service.errors()


def test_a_service_that_is_told_to_end_while_it_starts_does_so_and_is_never_ready(
    start: Callable[[str], Running],
) -> None:
    service = start("late")
    service.wait_for("start", 3)
    service.send(signal.SIGTERM)
    assert service.end() == 0
    assert service.lines("ready") == []


def test_what_does_not_finish_in_time_is_ended(start: Callable[[str], Running]) -> None:
    service = start("hangs")
    service.wait_for("ready", 1)
    service.send(signal.SIGTERM)
    assert service.end() == 0
    assert "workers that had not finished after 0.1 s are killed" in service.errors()
    assert not any(map(is_alive, service.children()))


def test_a_second_signal_ends_everything_at_once(start: Callable[[str], Running]) -> None:
    service = start("hangs")
    service.wait_for("ready", 1)
    service.send(signal.SIGINT)
    service.send(signal.SIGTERM)
    assert service.end() != 0
    assert not any(map(is_alive, service.children()))


def test_workers_end_when_their_parent_is_killed(start: Callable[[str], Running]) -> None:
    service = start("well")
    service.wait_for("ready", 1)
    service.process.kill()
    service.wait_for("end", 3)
    until(lambda: not any(map(is_alive, service.children())))
