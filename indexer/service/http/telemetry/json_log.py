"""The log as lines of JSON on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

import msgspec

from indexer.service.http.telemetry.batched_handler import BatchedHandler

LEVELS = ("debug", "info", "warning", "error")


def configure_logging(level: str = "info", stream: TextIO | None = None, *, forks: bool = False) -> None:
    """Send what this process logs, uvicorn's lines and Python's warnings too, to stderr as lines of JSON.

    Args:
        level: the least serious that is written; lines of requests are "info".
        forks: as of `BatchedHandler`.

    Raises:
        ValueError: no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"log level must be one of {', '.join(LEVELS)}, got {level!r}")
    handler = BatchedHandler(stream or sys.stderr, forks=forks)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"  # our own line has the route, and no ids
    logging.raiseExceptions = False  # a full disk under the log is no reason to write tracebacks to it
    # Nothing of these is written.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class JsonFormatter(logging.Formatter):
    """A record as an object: time (UTC), level, logger, message, and what `extra={"fields": {...}}` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except ValueError:  # a file name may hold bytes that are no text
            return json.dumps(line, default=str)
