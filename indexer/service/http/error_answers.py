"""What a request is answered when it fails: one table from exceptions to statuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from indexer.service.engine.overload import Overloaded
from indexer.service.http.errors import ErrorAnswer, RequestError, retry_after
from indexer.service.http.request_state import state_of
from indexer.service.sessions.session_store import SessionsBusy, SessionsUnavailable
from indexer.service.updates.product_publisher import StoreNotWritten
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed


def error_answer(error: Exception) -> ErrorAnswer:
    """What a request is answered that ended with this exception; 500 for one that nobody expects."""
    for kind in type(error).__mro__:
        if kind in _ANSWERS:
            return _ANSWERS[kind](error)
    return INTERNAL_ERROR


async def respond(request: Request, error: Exception) -> Response | None:
    """The same, as a handler of Starlette's; what surrounds the routes logs the error. None if the client has gone."""
    if isinstance(error, ClientDisconnect):
        return None
    answer, state = error_answer(error), state_of(request.scope)
    state.error, state.error_type = error, answer.error_type
    response = Response(answer.body(state.request_id), answer.status, media_type="application/json")
    response.raw_headers.extend(answer.headers)
    return response


INTERNAL_ERROR = ErrorAnswer(500, "internal_error", "internal error; the log has it under the request id")
_STORE_DAMAGED = ErrorAnswer(503, "store_damaged", "the store is damaged; the log says where", retry_after(5))
_NOT_WRITTEN = ErrorAnswer(
    503, "store_not_written", "the store cannot be written now; the log says why. Send the change again", retry_after(5)
)
_SESSIONS_UNAVAILABLE = ErrorAnswer(
    503, "sessions_unavailable", "kept sessions cannot be reached now; nothing was kept", retry_after(1)
)


def _of_data(error: InvalidData) -> ErrorAnswer:
    if error.file is not None:  # of the store: no request names files
        return _STORE_DAMAGED
    return ErrorAnswer(422, "invalid_request", str(error))


def _of_http(error: HTTPException) -> ErrorAnswer:
    if error.status_code == 404:
        return ErrorAnswer(404, "not_found", "no such route; /docs lists them")
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    error_type = re.sub(r"\W+", "_", HTTPStatus(error.status_code).phrase.lower())
    allowed = dict(headers).get(b"allow")
    message = str(error.detail) if allowed is None else f"expected {allowed.decode().replace(', ', ' or ')}"
    return ErrorAnswer(error.status_code, error_type, message, headers)


_ANSWERS: dict[type, Callable[[Any], ErrorAnswer]] = {
    RequestError: lambda error: error.answer,
    InvalidData: _of_data,
    NotFound: lambda error: ErrorAnswer(404, "not_found", str(error)),
    Conflict: lambda error: ErrorAnswer(409, "conflict", str(error)),
    Overloaded: lambda error: ErrorAnswer(429, "overloaded", str(error), retry_after(error.retry_after)),
    QualityGateFailed: lambda error: ErrorAnswer(503, "quality_gate_failed", str(error)),
    StoreNotWritten: lambda error: _NOT_WRITTEN,
    SessionsBusy: lambda error: ErrorAnswer(429, "overloaded", str(error), retry_after(1)),
    SessionsUnavailable: lambda error: _SESSIONS_UNAVAILABLE,
    HTTPException: _of_http,
}
HANDLED = (*_ANSWERS, ClientDisconnect, Exception)
