"""The OpenAPI document, made from the operations that the application serves."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from indexer.search.limits import Limits
from indexer.service.http.access.permissions import role_needed
from indexer.service.http.documentation.schemas import REQUIRED_MEMBERS, SCHEMAS, ref
from indexer.service.http.endpoint import JSON
from indexer.service.http.operation import Operation, Parameter

Document = dict[str, Any]

_TEMPLATE = "#/components/schemas/{name}"
_ERRORS = {
    400: "The request cannot be read: not JSON, or no HTTP that this service speaks.",
    401: "No key, or not a valid one.",
    403: "The key has not the role that the route needs, or a page of another site asks.",
    404: "Something that the request names does not exist.",
    405: "The path has other methods, which `Allow` names.",
    408: "The request did not come in time.",
    409: "The request contradicts what is there.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is compressed.",
    422: "The request can be read, but a value is not as expected; `error` names the field.",
    429: "Too much waits, or the key asks too often; `Retry-After` says when to ask again.",
    431: "The headers are too large.",
    500: "A bug; the log has it under the request id.",
    503: "The store is damaged, cannot be written, or is not ready to answer.",
}
_OF_ANY = (400, 403, 405, 408, 413, 414, 415, 429, 431, 500)
_DESCRIPTION = """What a shopper will look at next, from a session of searches, views, adds, purchases and removals.

Bodies are JSON in UTF-8, whatever `Content-Type` says. Errors are `{"error", "error_type", "request_id"}`."""


def openapi_document(operations: Sequence[Operation], limits: Limits, software: str) -> Document:
    """The document, in OpenAPI 3.1.

    Args:
        software: the version of ubm-embed.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ubm-embed",
            "version": software,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations, limits),
            "responses": {str(status): _error(status, text) for status, text in _ERRORS.items()},
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Needed where the service has keys."}
            },
        },
    }


def _operation(operation: Operation) -> Document:
    role = role_needed(operation.method, operation.path)
    document: Document = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, needs_key=role is not None),
        "security": [] if role is None else [{"key": []}],
    }
    if operation.description:
        document["description"] = operation.description
    if role is not None:
        document["x-required-role"] = role.name.lower()
    if operation.parameters:
        document["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        examples = {name: {"value": value} for name, value in operation.examples.items()}
        content = {JSON: {"schema": _schema(operation.body), "examples": examples}}
        document["requestBody"] = {"required": True, "content": content}
    return document


def _responses(operation: Operation, *, needs_key: bool) -> Document:
    content = {operation.reply_type.partition(";")[0]: {"schema": _schema(operation.reply or {})}}
    answer = {
        "description": "The answer.",
        "headers": _header_refs("X-Request-ID", "X-UBM-Version"),
        "content": content,
    }
    statuses = {*_OF_ANY, *operation.errors}
    if needs_key:
        statuses.add(401)
    if operation.body is not None or operation.parameters:
        statuses.add(422)
    return {"200": answer} | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _parameter(parameter: Parameter) -> Document:
    document: Document = {
        "name": parameter.name,
        "in": parameter.within,
        "required": parameter.within == "path",
        "schema": parameter.schema,
    }
    if parameter.description:
        document["description"] = parameter.description
    if parameter.example is not None:
        document["example"] = parameter.example
    return document


def _schema(kind: Any) -> Document:
    return dict(kind) if isinstance(kind, Mapping) else ref(kind.__name__)


def _schemas(operations: Iterable[Operation], limits: Limits) -> Document:
    kinds = [kind for operation in operations for kind in (operation.body, operation.reply) if isinstance(kind, type)]
    _, components = msgspec.json.schema_components(dict.fromkeys(kinds), ref_template=_TEMPLATE)
    schemas: Document = copy.deepcopy(dict(sorted({**SCHEMAS, **components}.items())))
    for name, schema in schemas.items():
        schema.update(REQUIRED_MEMBERS.get(name, {}))
        properties = schema.get("properties", {})
        if "minimum" in properties.get("k", {}):
            properties["k"]["maximum"] = limits.k
        for listed in _lists(properties.get("sessions", {})):
            listed["maxItems"] = limits.sessions
    return schemas


def _lists(schema: Document) -> list[Document]:
    return [one for one in (schema, *schema.get("anyOf", ())) if one.get("type") == "array"]


def _error(status: int, text: str) -> Document:
    headers = _header_refs("X-Request-ID", *(("Retry-After",) if status in (429, 503) else ()))
    return {"description": text, "headers": headers, "content": {JSON: {"schema": ref("Error")}}}


def _header_refs(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_HEADERS = {
    "X-Request-ID": {"description": "Of the request, as in the log.", "schema": {"type": "string"}},
    "X-UBM-Version": {"description": "The version of the store that answered.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
}
