"""Answers from the live version of a store, whichever it is: a new one takes over between two requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from indexer.search.answer import Answer
from indexer.search.background import MUCH, yield_to_others
from indexer.search.limits import Limits
from indexer.search.query import Query
from indexer.search.ranking import Rules
from indexer.search.recent_requests import RecentRequests
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number
from indexer.versions.revision import Revision
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.data.session import Product, Session
from ubm_embed.errors import InvalidData, UbmError
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor

_LOG = logging.getLogger(__name__)


class LiveRetriever:
    """Answers like a `Retriever`, always from the live version.

    A thread looks for a new version, opens it beside the one that answers, and answers the last sessions with it, so
    that its caches are warm. Then it takes over: every answer is of one version, requests that have begun end with
    theirs, and the files of the old version are closed with its last request. While the model stays the same, its
    caches do too. While both versions are open, both are in memory.

    A version that does not open is reported, and the one before goes on; it is tried again when another version becomes
    live, or after a while. A version whose files were cut while they were in use is opened again once they are whole.
    Several threads may ask at once. A process that forks makes its own after the fork.

    Args:
        device, predictors, limits: as of `Retriever.open`.
        interval: seconds between two looks; None for no thread, where the owner calls `check`.
        retry_after: seconds before a version that did not open is tried again.
        warm_sessions: how many of the last sessions a new version answers before it takes over.
        verify: called with the retriever of each version before it answers, the first one, too; raising refuses the
            version.
        on_error: called with the error when a version does not open, once for each version, by the thread that looks.
            The error is logged in any case. It must not close the retriever.

    Attributes:
        error: why the live version does not answer; None if it does.

    Raises:
        NotFound: no such store.
        InvalidData, Conflict, ValueError: the live version does not open, as of `Retriever.open`; and what `verify`
            raises.
    """

    def __init__(
        self,
        store: str | Path,
        *,
        device: str = "auto",
        predictors: Sequence[Predictor] = (),
        limits: Limits | None = None,
        interval: float | None = 5.0,
        retry_after: float = 60.0,
        warm_sessions: int = 100,
        verify: Callable[[Retriever], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        if interval is not None and interval <= 0:
            raise ValueError(f"interval must be above 0, got {interval:g}")
        self.error: Exception | None = None
        self._store = EmbeddingStore.open(store)
        self._device, self._predictors, self._limits = device, tuple(predictors), limits
        self._retry_after, self._verify, self._on_error = retry_after, verify, on_error
        self._failure: _Failure | None = None
        self._recent = RecentRequests(warm_sessions)
        self._requests, self._closed = 0, False
        self._changed = threading.Condition()  # guards the two above, what serves, and its requests
        self._checking = threading.Lock()
        self._serving = _Serving(self._open())
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if interval is not None:
            self._thread = threading.Thread(target=self._run, args=(interval,), name="live version", daemon=True)
            self._thread.start()

    @property
    def version(self) -> StoreVersion:
        """The version that answers now."""
        return self._serving.retriever.version

    @property
    def revision(self) -> Revision | None:
        """The revision of it that answers now; None if it does as it was published."""
        return self._serving.retriever.revision

    @property
    def label(self) -> str:
        """As of `Retriever`."""
        return self._serving.retriever.label

    def recommend(self, session: Session, k: int = 10, rules: Rules | None = None, *, explain: bool = False) -> Answer:
        """As `Retriever.recommend`."""
        return self.recommend_many([session], k, rules, explain=explain)[0]

    def recommend_many(
        self, sessions: Sequence[Session], k: int = 10, rules: Rules | None = None, *, explain: bool = False
    ) -> list[Answer]:
        """As `Retriever.recommend_many`: all answers are of one version."""
        with self.borrow() as retriever:
            answers = retriever.recommend_many(sessions, k, rules, explain=explain)
            self._recent.add(sessions, k, rules, retriever.embedder.max_interactions)
            return answers

    def remember(self, queries: Sequence[Query]) -> None:
        """Let queries that were put to a borrowed retriever be among those that warm the next version."""
        max_interactions = self._serving.retriever.embedder.max_interactions
        for query in queries:
            self._recent.add([query.session], query.k, query.rules, max_interactions)

    def lookup(self, product: Product, k: int = 10, rules: Rules | None = None) -> Answer:
        """As `Retriever.lookup`."""
        with self.borrow() as retriever:
            return retriever.lookup(product, k, rules)

    def lookup_id(self, product_id: str, k: int = 10, rules: Rules | None = None) -> Answer:
        """As `Retriever.lookup_id`."""
        with self.borrow() as retriever:
            return retriever.lookup_id(product_id, k, rules)

    @contextmanager
    def borrow(self) -> Iterator[Retriever]:
        """The retriever of the live version, for several requests to the same version; it stays open inside the block.

        Raises:
            ValueError: this is closed.
        """
        with self._changed:
            if self._closed:
                raise ValueError("the retriever is closed")
            serving = self._serving
            serving.requests += 1
            self._requests += 1
        try:
            yield serving.retriever
        finally:
            self._give_back(serving)

    def check(self) -> bool:
        """Look for a new version now, and return whether one took over. Only one thread looks at a time.

        What keeps a version from taking over is in `error`, and not raised.
        """
        return self._check(retry=True)

    def close(self) -> None:
        """Wait for the requests that have begun, and let go of the version. Later requests are refused."""
        with self._changed:
            self._closed = True
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._checking, self._changed:
            self._changed.wait_for(lambda: not self._requests)
            self._serving.retriever.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, interval: float) -> None:
        yield_to_others(MUCH)  # a core that is two thirds busy must not be full while a version is warmed
        while not self._stop.wait(interval):
            self._check(retry=False)

    def _check(self, *, retry: bool) -> bool:
        """As `check`; without `retry` a version that did not open is left alone for a while."""
        with self._checking:
            if self._closed:
                return False
            version = None
            try:
                version = read_version(self._store, live_number(self._store))
                if self._answers(version):
                    self.error = self._failure = None
                    return False
                if not retry and self._failure is not None and not self._failure.is_due(version, self._retry_after):
                    return False
                retriever = self._open(version.version, self._serving.retriever.embedder)
            except Exception as error:  # whatever it is, the version before goes on
                self._report(error, version)
                return False
            return self._take_over(retriever)

    def _answers(self, version: StoreVersion) -> bool:
        """Whether this is the version that answers, with its files as they were when it was opened."""
        if version != self.version:
            return False
        try:
            self._serving.retriever.catalogue.require_unchanged()
        except InvalidData:
            return False
        return True

    def _open(self, version: int | None = None, embedder: Embedder | None = None) -> Retriever:
        """A version, verified, that has answered the last sessions."""
        retriever = Retriever.open(
            self._store.uri,
            version=version,
            device=self._device,
            predictors=self._predictors,
            embedder=embedder,
            limits=self._limits,
        )
        try:
            if self._verify is not None:
                self._verify(retriever)
            self._warm(retriever)
        except BaseException:
            retriever.close()
            raise
        return retriever

    def _warm(self, retriever: Retriever) -> None:
        for session, k, rules in self._recent:
            if self._closed:
                return
            with suppress(UbmError):  # a condition may name a column that is gone
                retriever.recommend(session, k, rules)

    def _take_over(self, retriever: Retriever) -> bool:
        before, idle = _Serving(retriever), True
        with self._changed:
            if not self._closed:
                before, self._serving = self._serving, before
                self.error = self._failure = None
                idle = not before.requests
        if idle:
            before.retriever.close()
        if before.retriever is retriever:  # closed meanwhile
            return False
        _LOG.info("%s: version %d answers now", self._store.uri, retriever.version.version)
        return True

    def _give_back(self, serving: _Serving) -> None:
        with self._changed:
            serving.requests -= 1
            is_last = not serving.requests and serving is not self._serving
        try:
            if is_last:
                serving.retriever.close()
        finally:
            with self._changed:
                self._requests -= 1
                if not self._requests:
                    self._changed.notify_all()

    def _report(self, error: Exception, version: StoreVersion | None) -> None:
        before, self.error = self._failure, error
        self._failure = _Failure(version, type(error), time.monotonic())
        if before is not None and before[:2] == self._failure[:2]:
            return
        name = "the live version" if version is None else f"version {version.version}"
        _LOG.warning("%s: %s does not open, version %d goes on: %s", self._store.uri, name, self.version.version, error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _LOG.exception("on_error failed")


@dataclass
class _Serving:
    """A version that answers, or did, and how many requests it is answering."""

    retriever: Retriever
    requests: int = 0


class _Failure(NamedTuple):
    """Which version did not open, why, and when; without a version if not even its number could be read."""

    version: StoreVersion | None
    kind: type[Exception]
    moment: float

    def is_due(self, version: StoreVersion, seconds: float) -> bool:
        """Whether a version may be tried: another one at once, the same after a while."""
        return version != self.version or time.monotonic() - self.moment >= seconds
