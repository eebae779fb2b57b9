"""The log as lines of JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.service.http.telemetry.json_log import configure_logging
from tests.indexer.service.http.raw_server import wait_for


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The log of the other tests is left as it was."""
    monkeypatch.setattr(logging.root, "handlers", [])
    for flag in ("raiseExceptions", "logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, flag, getattr(logging, flag))
    level = logging.root.level
    yield
    logging.captureWarnings(False)
    logging.root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """What was written."""
    for handler in logging.root.handlers:
        handler.flush()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_record_is_a_line_with_its_fields() -> None:
    configure_logging(stream=(stream := io.StringIO()))
    logging.getLogger("shop").info("a %s\nwith lines \x1b[31m", "text", extra={"fields": {"version": 3}})
    (line,) = lines(stream)
    assert str(line.pop("time")).endswith("Z")
    assert line == {"level": "info", "logger": "shop", "message": "a text\nwith lines \x1b[31m", "version": 3}
    assert "\x1b" not in stream.getvalue()


def test_what_uvicorn_and_python_say_is_in_it() -> None:
    configure_logging(stream=(stream := io.StringIO()))
    logging.getLogger("uvicorn.error").info("Started")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    logging.getLogger("uvicorn.access").info("GET /v1/products/p1?user=u1")
    assert [line["logger"] for line in lines(stream)] == ["uvicorn.error", "py.warnings"]


def test_a_traceback_is_part_of_the_line() -> None:
    configure_logging(stream=(stream := io.StringIO()))
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("shop").exception("failed")
    assert str(lines(stream)[0]["traceback"]).endswith("ValueError: why")


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_is_the_least_that_is_written(level: str, written: int) -> None:
    configure_logging(level, stream := io.StringIO())
    for method in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("shop"), method)("text")
    assert len(lines(stream)) == written


def test_another_level_is_refused() -> None:
    with pytest.raises(ValueError, match="one of debug, info, warning, error, got 'loud'"):
        configure_logging("loud")


def test_values_of_any_kind_are_written(tmp_path: Path) -> None:
    configure_logging(stream=(stream := io.StringIO()))
    for value in (tmp_path, b"\xff".decode("utf-8", "surrogateescape"), float("nan"), {"a": ValueError("b")}):
        logging.getLogger("shop").info("text", extra={"fields": {"value": value}})
    values = [line["value"] for line in lines(stream)]
    assert values == [str(tmp_path), "\udcff", None, {"a": "b"}]


def test_a_log_that_cannot_be_written_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        """A file on a full disk."""

        def write(self, text: str, /) -> int:
            """Fails."""
            raise OSError(28, "No space left on device")

    configure_logging(stream=Full())
    for _ in range(10):
        logging.getLogger("shop").error("lost")
    assert capsys.readouterr().err == ""


def test_lines_are_written_together_and_soon() -> None:
    class Counting(io.StringIO):
        """Counts writes."""

        writes = 0

        def write(self, text: str, /) -> int:
            """Count."""
            self.writes += bool(text)
            return super().write(text)

    configure_logging(stream=(stream := Counting()))
    log = logging.getLogger("shop")
    for number in range(100):
        log.info("%d", number)
    log.error("soon")
    wait_for(lambda: "soon" in stream.getvalue())
    written = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert written == [*map(str, range(100)), "soon"]
    assert stream.writes <= 10
    log.info("last")
    wait_for(lambda: "last" in stream.getvalue())


def test_lines_of_threads_are_whole_and_none_is_lost() -> None:
    configure_logging(stream=(stream := io.StringIO()))

    def write(thread: int) -> None:
        for number in range(500):
            logging.getLogger("shop").log(
                logging.WARNING if number % 50 == 0 else logging.INFO, "%d", 1000 * thread + number
            )

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = [int(str(line["message"])) for line in lines(stream)]
    assert sorted(messages) == [1000 * thread + number for thread in range(4) for number in range(500)]


@pytest.mark.parametrize("forks", [False, True])
def test_a_log_that_nobody_reads_keeps_nobody_waiting(forks: bool) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as read, open(writer, "w", encoding="utf-8") as stream:
        configure_logging(stream=stream, forks=forks)
        log = logging.getLogger("shop")
        for number in range(11_000):
            log.log(logging.WARNING if number % 50 == 0 else logging.INFO, "%d %s", number, "long" * 25)

        written = list[str]()
        while "after a while" not in written:
            if forks:
                logging.root.handlers[0].flush()
            written.append(json.loads(read.readline())["message"])
            if written[-1].startswith("9999 "):
                log.info("after a while")
    numbers = [int(message.split()[0]) for message in written if message.split()[0].isdigit()]
    assert numbers == list(range(len(numbers)))
    assert f"nobody read the log, and {11_000 - len(numbers):,} of its lines are lost" in written


def test_a_process_that_forks_leaves_its_lines_to_itself(tmp_path: Path) -> None:
    code = """
import logging, multiprocessing, sys
from indexer.service.http.telemetry.json_log import configure_logging
configure_logging()
log = logging.getLogger("shop")
def child(number):
    for _ in range(10):
        log.info("child")
    logging.shutdown()
log.info("parent")
children = [multiprocessing.get_context("fork").Process(target=child, args=(n,)) for n in range(3)]
for c in children:
    c.start()
for c in children:
    c.join()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    messages = [json.loads(line)["message"] for line in run.stderr.splitlines()]
    assert sorted(messages) == ["child"] * 30 + ["parent"]
