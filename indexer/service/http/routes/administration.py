"""POST /v1/admin/reload and GET /v1/admin/experiments."""

from __future__ import annotations

import msgspec

from indexer.service.experiments.outcome_report import OutcomeReport, report
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation
from indexer.service.service import Service


class Reloaded(msgspec.Struct):
    """What a look for a new version came to.

    Attributes:
        changed: whether another version took over, or another revision.
        version: that answers now.
        revision: of it; 0 if it answers as it was published.
        error: why the live version does not answer, if it does not.
    """

    changed: bool
    version: int
    revision: int
    error: str | None


class AdministrationRoutes:
    """What operators ask for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def reload(self, call: Call) -> Reply:
        """Look for a new version now, in all workers."""
        changed = await self._service.reload_everywhere()
        engine = self._service.engine
        with engine.live.borrow() as retriever:
            version, revision = retriever.version.version, retriever.revision
        number = 0 if revision is None else revision.number
        return Reply.json(Reloaded(changed, version, number, None if engine.error is None else str(engine.error)))

    async def experiments(self, call: Call) -> Reply:
        """What the answers did."""
        return Reply.json(report(await self._service.sessions.counts(), self._service.experiment))

    def operations(self) -> list[Operation]:
        """Its routes."""
        return [
            Operation(
                "POST",
                "/v1/admin/reload",
                self.reload,
                tag="Administration",
                summary="Look for a new version now.",
                description="The same as SIGHUP: all workers look, and keys are read again.",
                reply=Reloaded,
            ),
            Operation(
                "GET",
                "/v1/admin/experiments",
                self.experiments,
                tag="Administration",
                summary="What the answers did, by version and arm.",
                description="Answers, clicks, adds and purchases with intervals of 95%, over sessions.",
                reply=OutcomeReport,
                errors=(503,),
            ),
        ]
