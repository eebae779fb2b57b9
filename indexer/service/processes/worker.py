"""A process that answers: it opens what the routes stand on, answers until it is told to end, and closes it again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from indexer.service.http.access.keys import Keys
from indexer.service.http.app import create_app
from indexer.service.http.connection.load_shedding import LoadShedder
from indexer.service.http.connection.protocol import ConnectionLimits
from indexer.service.http.connection.shedding_protocol import shedding
from indexer.service.http.telemetry.metrics import SAMPLE_SECONDS, Metrics
from indexer.service.processes.child import SIGNALS, Ready
from indexer.service.processes.http_server import HTTPServer
from indexer.service.processes.notification import notify
from indexer.service.service import Service
from indexer.service.settings import ServiceSettings
from ubm_embed.inference.process import set_threads

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Siblings:
    """What a worker shares with others.

    Attributes:
        number: which of them this is, from 0.
        supervisor: process id of the parent.
        lifeline: a file descriptor that comes to its end when the parent does.
        metrics: folder of the metrics of all.
        sessions: socket of the process that keeps their sessions; None if they are kept elsewhere.
    """

    number: int
    supervisor: int
    lifeline: int
    metrics: Path
    sessions: Path | None


def run_worker(
    settings: ServiceSettings,
    keys: Keys,
    listener: socket.socket,
    on_ready: Callable[[Ready], None],
    siblings: Siblings | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT, or until the parent has gone, and finish what has begun.

    SIGHUP looks for a new version and reads the keys again. A second SIGINT ends at once, and drops what has begun.
    A worker with siblings leaves SIGINT to its parent, since a terminal sends it to both.

    Args:
        on_ready: called once, when the version answers.

    Raises:
        NotFound, InvalidData, Conflict, ValueError: something does not open, as of `Service.open`.
    """
    set_threads(settings.threads)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answer(settings, keys, listener, on_ready, siblings))


async def _answer(
    settings: ServiceSettings,
    keys: Keys,
    listener: socket.socket,
    on_ready: Callable[[Ready], None],
    siblings: Siblings | None,
) -> None:
    metrics = Metrics() if siblings is None else Metrics(siblings.metrics, siblings.number)
    async with _opened(settings, metrics, siblings) as service:
        service.reloaded.append(keys.reload)
        shedder = LoadShedder(service.engine, settings.timeout, metrics)
        protocol = shedding(ConnectionLimits.from_settings(settings), metrics, shedder)
        server = HTTPServer(create_app(service, keys, metrics), settings, protocol)
        _keep_for_good()
        with _signals(server, service, siblings):
            tasks = (_announce(server, service, on_ready), _sample(service, metrics))
            running = [asyncio.create_task(task) for task in tasks]
            await server.serve([listener])
            for task in running:
                task.cancel()


def _keep_for_good() -> None:
    """Let the garbage collector pass over what was made so far.

    To look through these hundred thousand objects takes it 20 ms, in which every request waits.
    """
    gc.collect()
    gc.freeze()


@contextlib.asynccontextmanager
async def _opened(settings: ServiceSettings, metrics: Metrics, siblings: Siblings | None) -> AsyncIterator[Service]:
    service = Service.open(settings, metrics, keeper=siblings.sessions if siblings else None)
    if siblings is not None:
        service.supervisor = siblings.supervisor
    try:
        await service.start()
        yield service
    finally:
        await service.close()


async def _announce(server: HTTPServer, service: Service, on_ready: Callable[[Ready], None]) -> None:
    while not server.started or service.engine.readiness:
        await asyncio.sleep(_POLL_SECONDS)
    version = service.engine.version
    on_ready(Ready(version.version, version.products))


async def _sample(service: Service, metrics: Metrics) -> None:
    """Keep what another worker reads of this one's metrics true, also while no requests come."""
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        metrics.version(service.engine.version.version)
        metrics.revision(service.engine.live.revision)
        metrics.sample()


@contextlib.contextmanager
def _signals(server: HTTPServer, service: Service, siblings: Siblings | None) -> Iterator[None]:
    """Act on `SIGNALS`, which a worker with siblings began with blocked, and on the end of the parent."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[bool]] = set()

    def end() -> None:
        server.force_exit = server.should_exit and siblings is None
        server.should_exit = True
        if siblings is None:
            notify("STOPPING=1")

    def reload() -> None:
        reloads.add(task := loop.create_task(service.reload()))
        task.add_done_callback(reloads.discard)

    def parent_gone() -> None:
        loop.remove_reader(siblings.lifeline if siblings else -1)
        end()

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGHUP, reload)
    if siblings is None:
        loop.add_signal_handler(signal.SIGINT, end)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_reader(siblings.lifeline, parent_gone)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    yield
