"""What the routes stand on, opened in one order and closed in the other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from indexer.service.engine.engine import Engine
from indexer.service.engine.observer import EngineObserver
from indexer.service.event_log.event_log import EventLog, EventLogObserver
from indexer.service.experiments.arm_rules import require_fitting_rules
from indexer.service.experiments.experiment import Experiment
from indexer.service.sessions.opening import open_sessions
from indexer.service.sessions.session_store import SessionStore
from indexer.service.settings import ServiceSettings
from indexer.service.updates.product_publisher import ProductPublisher
from indexer.service.updates.product_writer import ProductWriter
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.report import UpdateReport
from indexer.versions.tags import resolve_number


class ServiceObserver(EngineObserver, EventLogObserver, Protocol):
    """Is told what happens, for metrics."""

    def products_published(self, seconds: float) -> None:
        """As of `ProductWriter`."""


@dataclass(slots=True)
class Service:
    """What the routes of one worker stand on. Metrics and keys are not in here: `http` has its own.

    Attributes:
        engine: answers.
        sessions: what shoppers did so far.
        products: changes those of the live version.
        experiment: which answers are compared, if any are.
        event_log: where events and answers are written, if they are.
        reloaded: called after each look for a new version, to read again what else may have changed, such as keys.
        supervisor: process that passes a reload on to the other workers; None without others.
    """

    settings: ServiceSettings
    engine: Engine
    sessions: SessionStore
    products: ProductWriter[UpdateReport]
    experiment: Experiment | None = None
    event_log: EventLog | None = None
    reloaded: list[Callable[[], None]] = field(default_factory=list)
    supervisor: int | None = None

    @classmethod
    def open(
        cls, settings: ServiceSettings, observer: ServiceObserver | None = None, keeper: Path | None = None
    ) -> Service:
        """Everything that the settings name, in the order in which an error is told soonest.

        Args:
            keeper: socket of the process that keeps sessions for several workers.

        Raises:
            NotFound, InvalidData, Conflict, ValueError: the experiment, the store, one of its versions or a predictor
                does not open.
        """
        experiment = None if settings.experiment is None else _read_experiment(settings.experiment, settings.store)
        sessions = open_sessions(settings, "" if experiment is None else experiment.name, keeper)
        engine = _open_engine(settings, experiment, observer)
        event_log = None if settings.event_log is None else EventLog.open(settings, observer)
        products = ProductWriter(
            ProductPublisher(settings.store, engine.live),
            engine.live.check,
            settings.timeout,
            observer.products_published if observer else lambda seconds: None,
        )
        return cls(settings, engine, sessions, products, experiment, event_log)

    async def start(self) -> None:
        """Begin to answer, for callers on the event loop that runs now."""
        await self.engine.start()

    async def close(self) -> None:
        """Finish what waits, and let everything go."""
        await self.products.close()
        await self.engine.close()
        await self.sessions.close()
        if self.event_log is not None:
            await asyncio.to_thread(self.event_log.close)

    async def reload(self) -> bool:
        """Look for a new version now, and return whether one took over."""
        changed = await self.engine.reload()
        for callback in self.reloaded:
            callback()
        return changed

    async def reload_everywhere(self) -> bool:
        """As `reload`; the other workers do so, too, soon after."""
        changed = await self.reload()
        if self.supervisor is not None:
            os.kill(self.supervisor, signal.SIGHUP)
        return changed


def _open_engine(settings: ServiceSettings, experiment: Experiment | None, observer: ServiceObserver | None) -> Engine:
    if experiment is None:
        return Engine.open(settings, observer=observer)
    verify, lists = partial(require_fitting_rules, experiment.arms), 2 if experiment.is_interleaved else 1
    return Engine.open(settings, experiment.pinned, observer, verify, queries_per_session=lists)


def _read_experiment(file: Path, store: str) -> Experiment:
    """An experiment with the numbers of its tagged versions, as they are now."""
    experiment = Experiment.read(file)
    return experiment.with_numbers(partial(resolve_number, EmbeddingStore.open(store)))
