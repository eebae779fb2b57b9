"""A running engine over a toy store, whose threads a test can hold."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from indexer.search.retriever import Retriever
from indexer.service.engine.engine import Engine
from indexer.service.engine.observer import DropReason, LaneName, ReleaseReason
from indexer.service.engine.versions import Verify
from indexer.service.settings import ServiceSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import make_live, read_live

SECONDS = 60  # after which a test that waits has failed


def publish(store: Path, number: int) -> None:
    """Make a version live without a check of its files."""
    opened = EmbeddingStore.open(store)
    make_live(opened, number, known=read_live(opened))


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.batches: list[tuple[LaneName, ReleaseReason, int]] = []
        self.drops: list[tuple[DropReason, int]] = []
        self.refused: list[Exception] = []
        self.most_waiting = 0

    def batch_released(self, lane: LaneName, reason: ReleaseReason, sessions: int, interactions: int) -> None:
        self.batches.append((lane, reason, sessions))

    def waiting(self, sessions: int) -> None:
        self.most_waiting = max(self.most_waiting, sessions)

    def dropped(self, reason: DropReason, sessions: int) -> None:
        self.drops.append((reason, sessions))

    def version_refused(self, error: Exception) -> None:
        self.refused.append(error)


class Hold:
    """Work that keeps a lane's thread until it is let go."""

    def __init__(self) -> None:
        self.begun, self._go_on = threading.Event(), threading.Event()

    def __call__(self, retriever: Retriever) -> None:
        self.begun.set()
        assert self._go_on.wait(SECONDS)

    def let_go(self) -> None:
        self._go_on.set()


Run = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def observer() -> Recorder:
    return Recorder()


@pytest.fixture
def run_engine(observer: Recorder) -> Run:
    """Runs an engine over a store with these settings for the time of a block."""

    @asynccontextmanager
    async def run(
        store: Path, pinned: tuple[int, ...] = (), verify: Verify | None = None, **settings: Any
    ) -> AsyncIterator[Engine]:
        told = {"reload_seconds": 1e6, "device": "cpu", "timeout": SECONDS} | settings
        engine = Engine.open(ServiceSettings(store=str(store), **told), pinned, observer, verify)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()

    return run
