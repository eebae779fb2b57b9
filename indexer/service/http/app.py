"""The application: routes, their document, and what surrounds them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import metadata

import msgspec
from fastapi import FastAPI
from starlette.types import ASGIApp

from indexer.search.limits import Limits
from indexer.service.http.docs_page import docs_routes
from indexer.service.http.endpoint import Call, Endpoint, Reply
from indexer.service.http.keys import Keys
from indexer.service.http.metrics import Metrics
from indexer.service.http.middleware import harden
from indexer.service.http.named_route import NamedRoute
from indexer.service.http.openapi import openapi_document
from indexer.service.http.operation import Operation
from indexer.service.http.routes.administration import AdministrationRoutes
from indexer.service.http.routes.embedding import EmbeddingRoutes
from indexer.service.http.routes.events import EventRoutes
from indexer.service.http.routes.health import HealthRoutes
from indexer.service.http.routes.likeness import LikenessRoutes
from indexer.service.http.routes.recommendation import RecommendationRoutes
from indexer.service.http.shown_answers import ShownAnswers
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
        *LikenessRoutes(service, limits, shown).operations(),
        *EmbeddingRoutes(service, limits).operations(),
        *HealthRoutes(service, limits, metrics).operations(),
        *AdministrationRoutes(service).operations(),
    ]
    metrics.watch(lambda: not service.engine.readiness)
    return harden(_application(operations, limits), settings, keys, metrics, partial(_live_version, service))


def _application(operations: Sequence[Operation], limits: Limits) -> FastAPI:
    document = openapi_document(operations, limits, metadata.version("ubm-embed"))
    application = FastAPI(
        routes=[
            *(NamedRoute(one.route, Endpoint(one.handler), methods=[one.method]) for one in operations),
            NamedRoute("/openapi.json", Endpoint(partial(_send, msgspec.json.encode(document))), methods=["GET"]),
            *docs_routes(),
        ],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would send clients to whatever host they name
    )
    application.openapi_schema = document
    return application


async def _send(document: bytes, call: Call) -> Reply:
    return Reply(document)


def _live_version(service: Service) -> int:
    return service.engine.version.version
