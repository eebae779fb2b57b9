"""What Prometheus reads of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from indexer.search.query import Timings
from indexer.service.engine.observer import DropReason, LaneName, ReleaseReason
from indexer.service.http.telemetry.worker_metrics import collected, share_values
from indexer.service.sessions.session_store import Outcome
from indexer.versions.revision import Revision

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PARTS = tuple(field.name for field in fields(Timings))
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_PART_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_UPDATE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Between two calls of `sample`: of another worker's values the last ones are read.
SAMPLE_SECONDS = 5.0
# Versions come and go for as long as the service runs; labels stay.
_MAX_VERSIONS = 100
OTHER = "other"


class Metrics:
    """Counts what the service does; an `EngineObserver`, too.

    No label is an id. A route is as it is declared; versions beyond the first hundred are one.

    Args:
        folder: where several workers share their values; None for one worker.
        worker: which of them this is; no two that live at once have the same number.
    """

    def __init__(self, folder: Path | None = None, worker: int = 0) -> None:
        if folder is not None:
            share_values(folder, worker)
        disable_created_metrics()  # type: ignore[no-untyped-call] # when a series began: twice the series
        self._folder, self._registry = folder, CollectorRegistry()
        self._versions: set[int] = set()
        self._cpu = 0.0
        self._is_ready: Callable[[], bool] | None = None
        self._of_requests()
        self._of_the_engine()
        self._of_shoppers()
        self._of_products()
        self._of_the_process()
        self.sample()

    def _of_requests(self) -> None:
        self._requests = self._counter("requests", "Requests that were answered", "method", "route", "status")
        self._seconds = self._histogram(
            "request_seconds", "From the head of a request to its answer", _SECONDS, "route"
        )
        parts = self._histogram(
            "request_part_seconds",
            "Where the time of requests went; a batch's for each of its requests",
            _PART_SECONDS,
            "part",
        )
        self._parts = tuple((part, parts.labels(part)) for part in _PARTS)
        refused = self._counter("refused_requests", "Requests that were answered with an error", "error_type")
        self._in_progress = self._gauge("requests_in_progress", "Requests that are being answered")
        self._connections = self._counter("refused_connections", "Connections that were closed by a limit", "reason")
        self._request_of = lru_cache(1_000)(self._requests.labels)
        self._seconds_of = lru_cache(100)(self._seconds.labels)
        self._refused_of = lru_cache(100)(refused.labels)

    def _of_the_engine(self) -> None:
        self._batches = self._counter("batches", "Batches by why they were not larger", "lane", "reason")
        self._batch_sessions = self._histogram("batch_sessions", "Sessions of a batch", (1, 2, 4, 8, 16, 32, 64, 128))
        self._batch_interactions = self._histogram(
            "batch_interactions", "Interactions of a batch that were not cached", (0, 1, 4, 16, 64, 256, 1024)
        )
        self._waiting = self._gauge("waiting_sessions", "Sessions that wait for their answers")
        self._dropped = self._counter("dropped_sessions", "Sessions dropped without an answer", "reason")
        self._version_refusals = self._counter("versions_refused", "Versions that became live and did not open")

    def _of_shoppers(self) -> None:
        self._events = self._counter("events", "Events by what became of them", "result")
        self._answers = self._counter("answers", "Answers that sessions were given", "version", "arm")
        self._outcomes = self._counter("outcomes", "Clicks, adds and purchases after answers", "kind", "version", "arm")
        self._kept = self._gauge("kept_sessions", "Sessions that are kept", "livemax")
        self._unavailable = self._counter("sessions_unavailable", "Calls for kept sessions that failed")
        self._log_failures = self._counter("event_log_failures", "Failed writes of the event log")
        self._log_dropped = self._counter("event_log_dropped", "Events and answers that the event log lost")

    def _of_products(self) -> None:
        self._product_changes = self._counter("product_changes", "Products that requests upserted or deleted", "kind")
        self._update_seconds = self._histogram(
            "product_update_seconds",
            "From the turn of requests that change products until this worker answers with them",
            _UPDATE_SECONDS,
        )

    def _of_the_process(self) -> None:
        self._resident = self._gauge("resident_bytes", "Memory of the workers, without the files that they map")
        self._cpu_seconds = self._counter("cpu_seconds", "Time of the processor that the workers took")

    # Made when they are known: a worker that starts is neither of version 0 nor a failure.

    @cached_property
    def _version(self) -> Gauge:
        return self._gauge("version", "The version that answers; of several workers the oldest", "livemin")

    @cached_property
    def _revision(self) -> Gauge:
        return self._gauge(
            "revision", "The revision of the version that answers; of several workers the oldest", "livemin"
        )

    @cached_property
    def _revision_rows(self) -> Gauge:
        return self._gauge("revision_rows", "Rows of that revision; a refresh takes them in", "livemax")

    @cached_property
    def _counts(self) -> Gauge:
        return self._gauge("counts", "1 if what shoppers did next adds to the scores of answers; else 0", "livemin")

    @cached_property
    def _ready(self) -> Gauge:
        return self._gauge(
            "ready", "1 if requests can be answered, by every worker that has started; else 0", "livemin"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ubm_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, several: Any = "livesum") -> Gauge:
        return Gauge(f"ubm_{name}", text, registry=self._registry, multiprocess_mode=several)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"ubm_{name}", text, labels, buckets=buckets, registry=self._registry)

    def exposition(self) -> bytes:
        """What `/metrics` answers, of all workers."""
        self.sample()
        return generate_latest(self._registry if self._folder is None else collected(self._folder))

    def request_began(self) -> None:
        """A request came."""
        self._in_progress.inc()

    def request_ended(
        self, method: str, route: str, status: int, seconds: float, error_type: str | None, timings: Timings | None
    ) -> None:
        """A request was answered, or its client has gone."""
        self._in_progress.dec()
        self._request_of(method if method in _METHODS else OTHER, route, str(status)).inc()
        self._seconds_of(route).observe(seconds)
        if error_type is not None:
            self._refused_of(error_type).inc()
        if timings is not None:
            for name, part in self._parts:
                part.observe(getattr(timings, name))

    def request_shed(self, method: str, route: str) -> None:
        """A request was refused at once, since the service is behind."""
        self._request_of(method if method in _METHODS else OTHER, route, "429").inc()
        self._refused_of("overloaded").inc()

    def connection_refused(self, reason: str) -> None:
        """A connection was closed by a limit."""
        self._connections.labels(reason).inc()

    def batch_released(self, lane: LaneName, reason: ReleaseReason, sessions: int, interactions: int) -> None:
        """As of `EngineObserver`."""
        self._batches.labels(lane, reason).inc()
        self._batch_sessions.observe(sessions)
        self._batch_interactions.observe(interactions)

    def waiting(self, sessions: int) -> None:
        """As of `EngineObserver`."""
        self._waiting.set(sessions)

    def dropped(self, reason: DropReason, sessions: int) -> None:
        """As of `EngineObserver`."""
        self._dropped.labels(reason).inc(sessions)

    def version(self, version: int) -> None:
        """The live version that answers from now on."""
        self._version.set(version)

    def revision(self, revision: Revision | None) -> None:
        """The revision that answers now; None without one."""
        self._revision.set(0 if revision is None else revision.number)
        self._revision_rows.set(0 if revision is None else revision.rows)

    def counts(self, are_read: bool) -> None:
        """Whether counts add to the scores now."""
        self._counts.set(are_read)

    def version_refused(self, error: Exception) -> None:
        """As of `EngineObserver`."""
        self._version_refusals.inc()

    def ready(self, is_ready: bool) -> None:
        """Whether this worker can answer now."""
        self._ready.set(is_ready)

    def watch(self, is_ready: Callable[[], bool]) -> None:
        """Ask now, and with each `sample`, whether this worker can answer."""
        self._is_ready = is_ready
        self._gauge("workers", "Workers that have started").set(1)
        self.sample()

    def events(self, accepted: int = 0, duplicates: int = 0, expired: int = 0, ignored: int = 0) -> None:
        """Events came."""
        results = {"accepted": accepted, "duplicate": duplicates, "expired": expired, "ignored": ignored}
        for result, number in results.items():
            if number:
                self._events.labels(result).inc(number)

    def answer(self, version: int, arm: str) -> None:
        """A session was given an answer."""
        self._answers.labels(self._label(version), arm).inc()

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Events counted for answers."""
        for outcome in outcomes:
            self._outcomes.labels(outcome.kind, self._label(outcome.version), outcome.arm).inc()

    def products_changed(self, counts: Mapping[str, int]) -> None:
        """A request changed products, by kind."""
        for kind, number in counts.items():
            if number:
                self._product_changes.labels(kind).inc(number)

    def products_published(self, seconds: float) -> None:
        """Requests that change products had their turn."""
        self._update_seconds.observe(seconds)

    def kept_sessions(self, number: int) -> None:
        """How many sessions are kept now."""
        self._kept.set(number)

    def sessions_unavailable(self) -> None:
        """Kept sessions could not be reached."""
        self._unavailable.inc()

    def event_log_failed(self) -> None:
        """The event log could not be written."""
        self._log_failures.inc()

    def event_log_dropped(self, number: int) -> None:
        """Events and answers will be missing in the event log."""
        self._log_dropped.inc(number)

    def sample(self) -> None:
        """Look at this process: its memory, its time, and whether it can answer."""
        cpu = time.process_time()
        self._cpu_seconds.inc(cpu - self._cpu)
        self._cpu = cpu
        self._resident.set(_anonymous_bytes())
        if self._is_ready is not None:
            self._ready.set(self._is_ready())

    def _label(self, version: int) -> str:
        if version not in self._versions:
            if len(self._versions) >= _MAX_VERSIONS:
                return OTHER
            self._versions.add(version)
        return str(version)


def _anonymous_bytes() -> int:
    """Memory that is this process's own: the mapped files of versions are shared, and the kernel's to drop."""
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:  # not Linux
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) * 1024
