"""The application: routes, their document, and what surrounds them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import metadata
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from indexer.search.limits import Limits
from indexer.service.http.access.keys import Keys
from indexer.service.http.answers.shown_answers import ShownAnswers
from indexer.service.http.documentation.docs_page import docs_routes
from indexer.service.http.documentation.openapi import openapi_document
from indexer.service.http.endpoint import Call, Endpoint, Reply
from indexer.service.http.middleware import harden
from indexer.service.http.operation import Operation
from indexer.service.http.routes.administration import AdministrationRoutes
from indexer.service.http.routes.embedding import EmbeddingRoutes
from indexer.service.http.routes.events import EventRoutes
from indexer.service.http.routes.health import HealthRoutes
from indexer.service.http.routes.likeness import LikenessRoutes
from indexer.service.http.routes.products import ProductRoutes
from indexer.service.http.routes.recommendation import RecommendationRoutes
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.service import Service


def create_app(service: Service, keys: Keys, metrics: Metrics) -> ASGIApp:
    """The application over a service that was opened. Opening, starting and closing it is the caller's.

    Args:
        keys: that requests must come with; without any, all are answered.
    """
    settings = service.settings
    limits = Limits(k=settings.max_k, sessions=settings.max_sessions, interactions=settings.max_interactions)
    shown = ShownAnswers(service, metrics)
    operations = [  # the router tries them in this order
        *RecommendationRoutes(service, limits, shown).operations(),
        *EventRoutes(service, metrics).operations(),
        *LikenessRoutes(service, limits, shown).operations(),  # before products, whose ids may hold slashes
        *ProductRoutes(service, metrics).operations(),
        *EmbeddingRoutes(service, limits).operations(),
        *HealthRoutes(service, limits, metrics).operations(),
        *AdministrationRoutes(service).operations(),
    ]
    metrics.watch(lambda: not service.engine.readiness)
    application = Application(operations, openapi_document(operations, limits, metadata.version("ubm-embed")))
    return harden(application, settings, keys, metrics, partial(_live_version, service))


class Application(FastAPI):
    """FastAPI over our operations.

    Requests for a fixed path go past its layers, which take a quarter of what the event loop has to do for a request:
    the middleware around it turns exceptions into answers. All others, and other methods, take its way.
    """

    def __init__(self, operations: Sequence[Operation], document: dict[str, Any]) -> None:
        routes = [Route(one.route, Endpoint(one.handler), methods=[one.method]) for one in operations]
        described = Route("/openapi.json", Endpoint(partial(_send, msgspec.json.encode(document))), methods=["GET"])
        super().__init__(
            routes=[*routes, described, *docs_routes()],
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,  # it would send clients to whatever host they name
        )
        self.openapi_schema = document
        self._endpoints: dict[tuple[Any, Any], Any] = {
            (one.method, one.path): route.endpoint
            for one, route in zip(operations, routes, strict=True)
            if not route.param_convertors
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._endpoints.get((scope.get("method"), scope.get("path")))
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        scope["endpoint"] = endpoint
        await endpoint(scope, receive, send)


async def _send(document: bytes, call: Call) -> Reply:
    return Reply(document)


def _live_version(service: Service) -> int:
    return service.engine.version.version
