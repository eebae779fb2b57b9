"""GET /livez, /readyz, /info and /metrics: how the service is."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from indexer.search.limits import Limits
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation
from indexer.service.http.telemetry.metrics import CONTENT_TYPE, Metrics
from indexer.service.service import Service
from indexer.service.sessions.session_store import SessionsUnavailable
from ubm_embed.data.tasks.task import Task


class Alive(msgspec.Struct):
    """The process runs."""

    status: str


class Ready(msgspec.Struct):
    """The version answers, and a canary and a warm-up query agreed when it was opened."""

    status: str
    version: int


class Info(msgspec.Struct, kw_only=True):
    """What answers now.

    Attributes:
        version: of the store.
        label: of the version with its revision, such as "3.17".
        revision: of the version; 0 if it answers as it was published. It is of `revision_rows` changes of products,
            the last at `revision_created`, UTC.
        created: when the version was built, UTC.
        model_id: of the model that reads sessions; `product_model_id` made the vectors.
        error: whether a later version is live that does not open.
        columns: that rules and matches may name.
        predictions: that answers come with.
        counts: from what it was counted what shoppers did next; null if answers are given without.
    """

    version: int
    label: str
    revision: int
    revision_rows: int
    revision_created: str | None
    created: str
    software: str
    model_id: str
    product_model_id: str
    dimension: int
    products: int
    indexed: int
    index: str
    metric: str
    recall_at_10: float
    columns: list[str]
    predictions: list[str]
    counts: dict[str, Any] | None
    error: bool
    limits: dict[str, float]
    experiment: dict[str, Any] | None


class HealthRoutes:
    """How the service is."""

    def __init__(self, service: Service, limits: Limits, metrics: Metrics) -> None:
        self._service, self._limits, self._metrics = service, limits, metrics

    async def livez(self, call: Call) -> Reply:
        """Whether the process runs."""
        return Reply.json(Alive("ok"))

    async def readyz(self, call: Call) -> Reply:
        """Whether it may be given requests."""
        engine = self._service.engine
        problems = engine.readiness
        self._metrics.ready(not problems)
        if not problems:
            return Reply.json(Ready("ready", engine.version.version))
        call.state.error_type = "not_ready"
        error = {
            "error": f"not ready: {'; '.join(problems)}",
            "error_type": "not_ready",
            "request_id": call.state.request_id,
            "problems": problems,
        }
        return Reply.json(error, status=503)

    async def info(self, call: Call) -> Reply:
        """What answers now."""
        engine, settings = self._service.engine, self._service.settings
        with engine.live.borrow() as retriever:
            version, revision, label = retriever.version, retriever.revision, retriever.label
        folders = {Task.PIP: settings.purchase_intention, Task.RLP: settings.remaining_length}
        names = {Task.PIP: "purchase_intention", Task.RLP: "remaining_length"}
        info = Info(
            version=version.version,
            label=label,
            revision=0 if revision is None else revision.number,
            revision_rows=0 if revision is None else revision.rows,
            revision_created=None if revision is None else revision.created,
            created=version.created,
            software=version.software,
            model_id=version.model_id,
            product_model_id=version.product_model_id or version.model_id,
            dimension=version.dimension,
            products=version.products,
            indexed=version.indexed,
            index=version.kind,
            metric=version.metric,
            recall_at_10=version.recall_at_10,
            columns=sorted(version.columns),
            predictions=[names[task] for task, folder in folders.items() if folder is not None],
            counts=version.counts.model_dump() if settings.counts and version.counts is not None else None,
            error=engine.error is not None,
            limits=self._limits.model_dump() | {"body_bytes": settings.max_body, "seconds": settings.timeout},
            experiment=self._experiment(),
        )
        return Reply.json(info)

    async def metrics(self, call: Call) -> Reply:
        """What Prometheus reads."""
        self._metrics.ready(not self._service.engine.readiness)
        self._metrics.revision(self._service.engine.live.revision)
        self._metrics.counts(self._service.settings.counts and self._service.engine.version.counts is not None)
        with contextlib.suppress(SessionsUnavailable):
            gauges = await self._service.sessions.gauges()
            self._metrics.kept_sessions(gauges.get("sessions", 0))
        return Reply(self._metrics.exposition(), content_type=CONTENT_TYPE)

    def _experiment(self) -> dict[str, Any] | None:
        experiment = self._service.experiment
        if experiment is None:
            return None
        arms = [{"name": arm.name, "version": arm.version} for arm in experiment.arms]
        return {"name": experiment.name, "kind": experiment.kind, "arms": arms}

    def operations(self) -> list[Operation]:
        """Its routes."""
        not_ready = "503 names the problems until the version answers."
        return [
            _operation("/livez", self.livez, "Whether the process runs.", reply=Alive),
            _operation(
                "/readyz", self.readyz, "Whether it may be given requests.", not_ready, reply=Ready, errors=(503,)
            ),
            _operation("/info", self.info, "What answers now.", reply=Info),
            _operation(
                "/metrics",
                self.metrics,
                "What Prometheus reads.",
                reply={"type": "string"},
                reply_type=CONTENT_TYPE,
            ),
        ]


def _operation(path: str, handler: Any, summary: str, description: str = "", **others: Any) -> Operation:
    return Operation("GET", path, handler, tag="Health", summary=summary, description=description, **others)
