"""What surrounds the routes: ids, keys, limits, headers, errors, log lines and metrics, in one pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.service.engine.overload import Overloaded
from indexer.service.http.access.keys import Keys
from indexer.service.http.access.permissions import authenticate, require_own_origin
from indexer.service.http.access.rate_limit import RateLimits
from indexer.service.http.connection.load_shedding import is_too_old
from indexer.service.http.error_answers import HANDLED, INTERNAL_ERROR, error_answer, respond
from indexer.service.http.errors import ErrorAnswer, body_encoded, body_too_large
from indexer.service.http.request_id import HEADER, request_id
from indexer.service.http.request_state import RequestState
from indexer.service.http.security_headers import security_headers
from indexer.service.http.telemetry.access_log import log_request
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.sessions.session_store import SessionsUnavailable
from indexer.service.settings import ServiceSettings

_LOG = logging.getLogger(__name__)
# What nginx writes for a client that did not wait for its answer.
CLIENT_CLOSED_REQUEST = 499
UNMATCHED = "unmatched"


def harden(
    app: Starlette, settings: ServiceSettings, keys: Keys, metrics: Metrics, version: Callable[[], int | None]
) -> ASGIApp:
    """The application inside all that surrounds its routes.

    Routes say through `state_of(scope)` what only they know.

    Args:
        version: the number of the live version; None if there is none yet.
    """
    for kind in HANDLED:
        app.add_exception_handler(kind, respond)  # type: ignore[arg-type] # it may return None
    return Middleware(app, settings, keys, metrics, version)


class Middleware:
    """An ASGI application around another one."""

    def __init__(
        self, app: Starlette, settings: ServiceSettings, keys: Keys, metrics: Metrics, version: Callable[[], int | None]
    ) -> None:
        self.app, self.keys, self.metrics = app, keys, metrics
        self._version = version
        self._last_version: int | None = None
        self.live_version()
        self.max_body, self.timeout = settings.max_body, settings.timeout
        self.rates = RateLimits(settings.workers)
        routes = [route for route in app.routes if isinstance(route, Route)]
        self.routes = {route.endpoint: route.path_format for route in routes}
        self.paths = {route.path for route in routes if not route.param_convertors}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand the life of the server on."""
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)

    def live_version(self) -> int | None:
        """The number of the live version, which the metrics show."""
        version = self._version()
        if version is not None and version != self._last_version:
            self._last_version = version
            self.metrics.version(version)
        return version


class _Exchange:
    """One request and its answer."""

    def __init__(self, middleware: Middleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._middleware, self._scope = middleware, scope
        self._receive, self._send = receive, send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._status: int | None = None
        self._body = 0
        self._state = RequestState(request_id(self._headers.get(HEADER, b"")))
        state = scope.setdefault("state", {})
        state["request"] = self._state
        self._started: float = state.get("arrival", time.monotonic())

    async def run(self) -> None:
        """Answer, whatever happens inside."""
        self._middleware.metrics.request_began()
        try:
            self._admit()
            await self._middleware.app(self._scope, self._limited_receive, self._sealed_send)
        except ClientDisconnect:
            pass
        except Exception as error:
            self._state.error = error
            await self._refuse(error_answer(error))
        finally:
            self._finish()

    def _admit(self) -> None:
        middleware, scope, state = self._middleware, self._scope, self._state
        age = time.monotonic() - self._started
        if is_too_old(scope["method"].encode("latin-1"), scope["raw_path"], age, middleware.timeout):
            raise Overloaded(1, "queue")
        length = self._headers.get(b"content-length")
        if middleware.keys:
            authorization = self._headers.get(b"authorization", b"")
            state.key = authenticate(middleware.keys, scope["method"], scope["path"], authorization)
        elif b"origin" in self._headers:
            require_own_origin(self._headers[b"origin"])
        middleware.rates.admit(state.key)
        if length is not None and int(length) > middleware.max_body:
            raise body_too_large(middleware.max_body)
        if self._headers.get(b"content-encoding", b"identity") != b"identity":
            raise body_encoded()

    async def _limited_receive(self) -> Message:
        message = await self._receive()
        self._body += len(message.get("body", b""))
        if self._body > self._middleware.max_body:
            raise body_too_large(self._middleware.max_body)
        return message

    async def _sealed_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._added_headers()]
        await self._send(message)

    def _added_headers(self) -> list[tuple[bytes, bytes]]:
        path, state = self._scope["path"], self._state
        added = [*security_headers(path), (b"x-request-id", state.request_id.encode())]
        live = self._middleware.live_version()
        state.version = live if state.version is None else state.version
        if state.version is not None:
            added.append((b"x-ubm-version", b"%d" % state.version))
        return added

    async def _refuse(self, answer: ErrorAnswer) -> None:
        """Send an error, unless an answer has begun; it cannot be taken back."""
        self._state.error_type = answer.error_type
        if self._status is not None:
            return
        body = answer.body(self._state.request_id)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *answer.headers]
        await self._sealed_send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _finish(self) -> None:
        state, middleware = self._state, self._middleware
        seconds = time.monotonic() - self._started
        status, method, route = self._status or CLIENT_CLOSED_REQUEST, self._scope["method"], self._route()
        if state.error is not None and error_answer(state.error).status >= 500:
            _log_failure(state.error, state.request_id, route)
        middleware.rates.charge(state.key, state.sessions - 1)
        middleware.metrics.request_ended(method, route, status, seconds, state.error_type, state.timings)
        log_request(
            method=method,
            route=route,
            status=status,
            seconds=seconds,
            request_id=state.request_id,
            sessions=state.sessions,
            version=state.version,
            key=state.key.name if state.key else None,
            error_type=state.error_type,
            timings=state.timings,
        )

    def _route(self) -> str:
        """The route as it is declared; what a client wrote itself is no label and no text of ours."""
        routes, scope = self._middleware.routes, self._scope
        if "endpoint" in scope:
            return routes.get(scope["endpoint"], UNMATCHED)
        return scope["path"] if scope["path"] in self._middleware.paths else UNMATCHED  # refused before it was routed


def _log_failure(error: Exception, request_id: str, route: str) -> None:
    """A fault of ours with its traceback; of what we stand on, such as the store, what it says."""
    if isinstance(error, SessionsUnavailable):
        return  # that the outage began is in the log, once and not for each request
    fields = {"request_id": request_id, "route": route}
    if error_answer(error) is INTERNAL_ERROR:
        _LOG.error("a request failed", exc_info=error, extra={"fields": fields})
    else:
        _LOG.warning("a request failed: %s", error, extra={"fields": fields})
