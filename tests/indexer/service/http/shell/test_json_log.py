"""The log as lines of JSON."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.service.http.json_log import configure_logging


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
    logging.getLogger("shop").error("lost")
    assert capsys.readouterr().err == ""
