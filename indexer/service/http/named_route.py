"""A route that says in the scope of a request which one it was."""

from __future__ import annotations

from starlette.routing import Match, Route
from starlette.types import Scope


class NamedRoute(Route):
    """As its base, under FastAPI, whose router says so of its own routes only."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is this route's."""
        match, child = super().matches(scope)
        return match, child if match is Match.NONE else {**child, "route": self}
