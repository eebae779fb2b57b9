"""A route with all that its users are told of it: what is served is what the OpenAPI document describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from indexer.service.http.endpoint import JSON, Handler

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the path or in the query of a URL."""

    name: str
    within: Literal["path", "query"]
    description: str
    schema: Schema
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path.

    Attributes:
        path: with parameters in braces, as OpenAPI has them; one that may hold slashes is in `open_parameters`.
        summary: a line; `description` says the rest.
        body: of a request, as msgspec reads it or as JSON schema; None without one.
        examples: bodies, by what they show.
        reply: of an answer 200, likewise.
        reply_type: its content type.
        errors: statuses, beside those that any route may answer with.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str = ""
    body: type[msgspec.Struct] | Schema | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    reply: type[msgspec.Struct] | Schema | None = None
    reply_type: str = JSON
    parameters: tuple[Parameter, ...] = ()
    open_parameters: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()

    @property
    def route(self) -> str:
        """The path as the router has it."""
        path = self.path
        for name in self.open_parameters:
            path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
        return path

    @property
    def operation_id(self) -> str:
        """A name for programs that are made from the document, such as `get_products_similar`."""
        words = self.path.removeprefix("/v1").replace("{", " {").split("/")
        names = [word for word in words if word and "{" not in word]
        return "_".join([self.method.lower(), *names]).replace(".", "_")
