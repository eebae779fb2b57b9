"""Answers from what is live in a store: a new version or revision takes over between two requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from indexer.search.answer import Answer
from indexer.search.background import MUCH, in_background, yield_to_others
from indexer.search.limits import Limits
from indexer.search.live_state import NO_LOOK, Failure, LiveState, Look
from indexer.search.query import Query
from indexer.search.ranking import Rules
from indexer.search.recent_requests import RecentRequests
from indexer.search.retriever import Retriever
from indexer.search.serving import Serving
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live, read_live
from indexer.versions.revision import Revision
from indexer.versions.version import StoreVersion
from ubm_embed.data.session import Product, Session
from ubm_embed.errors import InvalidData, UbmError
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor

_LOG = logging.getLogger(__name__)
# Seconds between two looks at live.json, a file of some hundred bytes.
_INTERVAL, _INTERVAL_OF_OBJECTS = 0.2, 2.0
# Seconds for which a revision waits for the rules to be compiled that are in use; a request compiles what is left.
_MAX_COMPILING = 0.3


class LiveRetriever:
    """Answers like a `Retriever`, always from the live version.

    A thread looks for a new version, opens it beside the one that answers, and answers the last sessions with it, so
    that its caches are warm. Then it takes over: every answer is of one version, requests that have begun end with
    theirs, and the files of the old version are closed with its last request. While the model stays the same, its
    caches do too. While both versions are open, both are in memory.

    A revision of the version that answers, and a version that shares its files, take over without opening or warming
    anything: only what changed is read, and the rules that requests used last are compiled.

    What does not open is reported, and what answered before goes on; it is tried again when something else becomes
    live, or after a while. A version whose files were cut while they were in use is opened again once they are whole.
    Several threads may ask at once. A process that forks makes its own after the fork.

    Args:
        device, predictors, limits, counts, words: as of `Retriever.open`.
        interval: seconds between two looks; by default 0.2 for a folder, and 2 for an object store, which charges for
            each. None for no thread, where the owner calls `check`.
        retry_after: seconds before a version that did not open is tried again.
        warm_sessions: how many of the last sessions a new version answers before it takes over.
        verify: called with the retriever of each version before it answers, the first one, too; raising refuses the
            version. Not for a revision, which has the files and the model that were verified.
        on_error: called with the error when what is live does not open, once for each state of the store, by the thread
            that looks. The error is logged in any case. It must not close the retriever.

    Attributes:
        error: why what is live does not answer; None if it does.

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
        interval: float | Literal["auto"] | None = "auto",
        retry_after: float = 60.0,
        warm_sessions: int = 100,
        verify: Callable[[Retriever], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        counts: bool = True,
        words: bool = True,
    ) -> None:
        if isinstance(interval, int | float) and interval <= 0:
            raise ValueError(f"interval must be above 0, got {interval:g}")
        self.error: Exception | None = None
        self._store = EmbeddingStore.open(store)
        if interval == "auto":
            interval = _INTERVAL if isinstance(self._store.storage, LocalStorage) else _INTERVAL_OF_OBJECTS
        self._device, self._predictors, self._limits = device, tuple(predictors), limits
        self._counts, self._words = counts, words
        self._retry_after, self._verify, self._on_error = retry_after, verify, on_error
        self._failure: Failure | None = None
        self._last_look = NO_LOOK
        self._recent = RecentRequests(warm_sessions)
        self._checking = threading.Lock()
        self._stop = threading.Event()
        self._serving = Serving(self._open())
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

    def borrow(self) -> AbstractContextManager[Retriever]:
        """The retriever of what is live, for several requests to the same version; it stays open inside the block.

        Raises:
            ValueError: this is closed.
        """
        return self._serving.borrow()

    def check(self) -> bool:
        """Look for a new version or revision now, and return whether one took over. Only one thread looks at a time.

        What keeps it from taking over is in `error`, and not raised.
        """
        return self._check(retry=True)

    def close(self) -> None:
        """Wait for the requests that have begun, and let go of the version. Later requests are refused."""
        self._serving.refuse()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._checking:
            self._serving.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, interval: float) -> None:
        yield_to_others()
        while not self._stop.wait(interval):
            self._check(retry=False)

    def _check(self, *, retry: bool) -> bool:
        """As `check`; without `retry` what did not open is left alone for a while."""
        with self._checking:
            if self._stop.is_set():
                return False
            state = LiveState()
            try:
                state = LiveState(read_live(self._store))
                if not retry and self._last_look.still_holds(state.live):
                    return False
                state = state.with_manifest(self._store)
                if self._answers(state):
                    self.error, self._failure, self._last_look = None, None, Look(state.live, time.monotonic())
                    return False
                if not retry and self._failure is not None and not self._failure.is_due(state, self._retry_after):
                    return False
                retriever = self._successor(state)
            except Exception as error:  # whatever it is, what answered before goes on
                self._report(error, state)
                return False
            return self._take_over(retriever)

    def _answers(self, state: LiveState) -> bool:
        """Whether this is what answers, with its files as they were when it was opened."""
        is_live = state.live is not None and state.live.revision == self.revision
        return is_live and state.version == self.version and self._has_its_files()

    def _has_its_files(self) -> bool:
        try:
            self._serving.retriever.catalogue.require_unchanged()
        except InvalidData:
            return False
        return True

    def _successor(self, state: LiveState) -> Retriever:
        """What is to answer next, ready to."""
        live, version, before = state.live, state.version, self._serving.retriever
        assert live is not None
        assert version is not None
        # A version with another manifest than before was repaired: its files are others.
        was_repaired = version.version == before.version.version and version != before.version
        if was_repaired or not before.can_advance(version) or not self._has_its_files():
            # A core that is two thirds busy must not be full while a version is opened and warmed.
            return in_background(partial(self._open, version.version, before.embedder), MUCH)
        return self._advance(before, live, verified=version == before.version)

    def _advance(self, before: Retriever, live: Live, *, verified: bool) -> Retriever:
        """A retriever over the files that another one has opened, with the rules of the last requests compiled."""
        retriever = before.advanced(live)
        try:
            if self._verify is not None and not verified:
                self._verify(retriever)
            retriever.matcher.compile_as(before.matcher, _MAX_COMPILING)
        except BaseException:
            retriever.close()
            raise
        return retriever

    def _open(self, version: int | None = None, embedder: Embedder | None = None) -> Retriever:
        """A version, verified, that has answered the last sessions."""
        retriever = Retriever.open(
            self._store.uri,
            version=version,
            device=self._device,
            predictors=self._predictors,
            embedder=embedder,
            limits=self._limits,
            counts=self._counts,
            words=self._words,
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
            if self._stop.is_set():
                return
            with suppress(UbmError):  # a condition may name a column that is gone
                retriever.recommend(session, k, rules)

    def _take_over(self, retriever: Retriever) -> bool:
        before = self.version
        if not self._serving.replace(retriever):
            return False
        self.error, self._failure, self._last_look = None, None, NO_LOOK
        # Revisions may come every second, and the metrics show which one answers.
        level = logging.DEBUG if retriever.version == before else logging.INFO
        _LOG.log(level, "%s: version %s answers now", self._store.uri, retriever.label)
        return True

    def _report(self, error: Exception, state: LiveState) -> None:
        before, self.error = self._failure, error
        self._failure, self._last_look = Failure(state, type(error), time.monotonic()), NO_LOOK
        if self._failure.is_like(before):
            return
        parts = self._store.uri, state.label, self.label, error
        _LOG.warning("%s: %s does not open, version %s goes on: %s", *parts)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _LOG.exception("on_error failed")
