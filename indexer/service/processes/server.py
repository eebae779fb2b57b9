"""A service from its settings to its end: one worker in this process, or several under a supervisor."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from indexer.service.http.access.keys import Keys
from indexer.service.http.access.permissions import require_keys
from indexer.service.http.telemetry.json_log import configure_logging
from indexer.service.http.telemetry.worker_metrics import worker_ended
from indexer.service.processes.child import Parent, Ready
from indexer.service.processes.listener import address_of, listening
from indexer.service.processes.notification import notify
from indexer.service.processes.shared_folder import shared_folder
from indexer.service.processes.shared_libraries import import_libraries
from indexer.service.processes.supervisor import Supervisor
from indexer.service.processes.worker import Siblings, run_worker
from indexer.service.sessions.keeper import run_keeper
from indexer.service.sessions.opening import memory_sessions, require_sessions
from indexer.service.settings import ServiceSettings

# What a worker needs after its last answer, to write its log of events and to close its version.
_CLOSING_SECONDS = 5.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """A service that answers.

    Attributes:
        address: a URL; of a Unix socket `unix:` and its file.
        version, products: that answer.
        keys: whether requests need one.
    """

    address: str
    version: int
    products: int
    workers: int
    keys: bool


def read_keys(settings: ServiceSettings) -> Keys:
    """The keys of a service.

    Raises:
        NotFound, InvalidData: as of `Keys.read`.
        ValueError: there are none, and other machines reach the service.
    """
    keys = Keys.read(settings.keys, os.environ)
    require_keys(settings.host if settings.unix_socket is None else f"unix:{settings.unix_socket}", keys)
    return keys


def run_service(settings: ServiceSettings, keys: Keys, on_start: Callable[[Started], None]) -> None:
    """Answer until SIGTERM or SIGINT, and finish what has begun.

    Args:
        on_start: called when requests are answered.

    Raises:
        Conflict: the address is in use, or as of `run_worker`.
        NotFound, InvalidData, ValueError: as of `require_sessions` and `run_worker`; it does not listen then.
        KeyboardInterrupt: a second signal, before all requests were finished.
    """
    configure_logging(settings.log_level, forks=settings.workers > 1)
    _LOG.setLevel(logging.INFO)  # where it listens is told at any level
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells at length which of its builds it loads
    with listening(settings) as listener:

        def on_ready(ready: Ready) -> None:
            started = Started(address_of(listener), *ready, workers=settings.workers, keys=bool(keys))
            _LOG.info("ready", extra={"fields": asdict(started)})
            on_start(started)
            notify("READY=1")

        require_sessions(settings)
        if settings.workers == 1:
            run_worker(settings, keys, listener, on_ready)
        else:
            _run_workers(settings, keys, listener, on_ready)


def _run_workers(
    settings: ServiceSettings, keys: Keys, listener: socket.socket, on_ready: Callable[[Ready], None]
) -> None:
    import_libraries()
    with shared_folder() as folder:
        keeper = folder / "sessions" if settings.sessions == "memory" else None

        def run(number: int, parent: Parent) -> None:
            siblings = Siblings(number, parent.pid, parent.lifeline, folder / "metrics", keeper)
            run_worker(settings, keys, listener, parent.report, siblings)

        def keep(socket: Path, parent: Parent) -> None:
            listener.close()
            run_keeper(socket, memory_sessions(settings), parent.lifeline)

        def stop() -> None:
            notify("STOPPING=1")
            listener.close()  # or connections that no worker takes any more would wait instead of being refused

        (folder / "metrics").mkdir()
        Supervisor(
            [partial(run, number) for number in range(settings.workers)],
            run_keeper=None if keeper is None else partial(keep, keeper),
            grace=settings.grace + _CLOSING_SECONDS,
            on_ready=on_ready,
            on_stop=stop,
            on_exit=partial(worker_ended, folder / "metrics"),
        ).run()
