"""When a request is refused because of load."""

from __future__ import annotations

from typing import Literal


class Overloaded(Exception):  # noqa: N818 - says what happened
    """A request that is refused because of load; the same request may be answered later.

    Attributes:
        retry_after: whole seconds after which to ask again, at least 1.
        reason: "queue" if it was refused on arrival, since too much waits; "timeout" if its turn did not come in
            time.
    """

    def __init__(self, retry_after: int, reason: Literal["queue", "timeout"]) -> None:
        super().__init__(f"the service is busy; ask again in {retry_after} s")
        self.retry_after, self.reason = retry_after, reason
