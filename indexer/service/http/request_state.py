"""What is known of a request while it is answered: routes and middleware tell one another here."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from indexer.search.query import Timings
from indexer.service.http.access.key import Key


@dataclass(slots=True)
class RequestState:
    """What its log line, its metrics and its limits need. Routes set what the middleware cannot know.

    Attributes:
        key: that it came with; None where no keys are asked for.
        version: that answered it; None where the live one is meant.
        sessions: how many it asks about; its cost for the rate of its key.
        timings: where its time went.
        error: that ended it.
        error_type: the word for that, as it was sent.
    """

    request_id: str
    key: Key | None = None
    version: int | None = None
    sessions: int = 1
    timings: Timings | None = None
    error: Exception | None = None
    error_type: str | None = None


def state_of(scope: MutableMapping[str, Any]) -> RequestState:
    """The state of the request that this ASGI scope describes."""
    state: RequestState = scope["state"]["request"]
    return state
