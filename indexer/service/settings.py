"""What a service is told when it starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ubm_embed.validation import FrozenModel

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
LogLevel = Literal["debug", "info", "warning", "error"]


def _session_store(value: str) -> str:
    if value != "memory" and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be memory, or a URL that begins with redis://, rediss:// or unix://")
    return value


def _local_folder(value: Path) -> Path:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)):
        raise ValueError(f"must be a folder of this machine, got the URI {str(value)!r}")
    return value


class ServiceSettings(FrozenModel):
    """What a service is told when it starts; each is an option of `ubm-embed serve`.

    Attributes:
        store: a folder or a URI.
        host, port: where it listens; port 0 takes a free one.
        unix_socket: file of a Unix socket to listen on in place of host and port.
        workers: processes that answer.
        grace: seconds in which requests that have begun may finish when the service is told to end.
        log_level: the least of what is logged.
        device, threads: of the model and the index; threads of each worker.
        purchase_intention, remaining_length: folders of models that predict.
        sessions: "memory", or the URL of a Redis or Valkey server.
        session_ttl: seconds after which a session without events or answers is forgotten.
        max_kept_sessions, kept_session_bytes: most that are kept in memory.
        reload_seconds: between two looks for a new version or revision; None for the default of the storage (see
            `LiveRetriever`).
        counts: whether what shoppers did next adds to the scores of sessions' matches.
        words: whether shared words add to the scores of searches and of products looked up by their text.
        max_k, max_sessions, max_interactions: of one request.
        max_body: bytes of a request.
        max_waiting: sessions that wait for their answers; beyond it a request is refused with 429.
        max_batch: sessions that are answered at once.
        timeout: seconds after which a request is refused, be it that its body or its turn does not come.
        experiment: TOML that says which answers are compared.
        outcome_window: seconds within which an event counts for an answer.
        event_log: folder for Parquet files of events and answers.
        event_log_seconds: after which a file is finished.
        keys: TOML with bearer keys.

    Raises:
        ValueError: a value out of range.
    """

    store: str
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    unix_socket: Path | None = None
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    grace: Seconds = 30.0
    log_level: LogLevel = "info"
    device: str = "cpu"
    threads: Count = 1
    purchase_intention: Path | None = None
    remaining_length: Path | None = None
    # A URL may hold a password.
    sessions: Annotated[str, AfterValidator(_session_store), Field(repr=False)] = "memory"
    session_ttl: Seconds = 1_800.0
    max_kept_sessions: Count = 200_000
    kept_session_bytes: Count = 256 << 20
    reload_seconds: Seconds | None = None
    counts: bool = True
    words: bool = True
    max_k: Count = 200
    max_sessions: Count = 100
    max_interactions: Count = 1_000
    max_body: Count = 1 << 20
    max_waiting: Count = 512
    max_batch: Count = 32
    timeout: Seconds = 2.0
    experiment: Path | None = None
    outcome_window: Seconds = 1_800.0
    event_log: Annotated[Path, AfterValidator(_local_folder)] | None = None
    event_log_seconds: Seconds = 60.0
    keys: Path | None = None
