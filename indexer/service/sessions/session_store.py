"""Where sessions are kept between requests: the interface, and what it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import msgspec

from indexer.service.sessions.event import Event
from ubm_embed.data.session import Session

OutcomeKind = Literal["click", "add", "buy"]


class SessionsUnavailable(Exception):  # noqa: N818 - says what happened
    """The sessions cannot be reached now; the caller goes on with what the request says."""


class SessionsBusy(SessionsUnavailable):
    """Too many requests wait for the sessions: it is load that keeps them from this one."""


class ShownAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer that a session was given.

    Attributes:
        moment: seconds since 1970.
        version: of the store.
        arm: of the experiment; "" without one.
        product_ids: of its matches, in their order.
        teams: of an interleaved answer, which of two lists each match was drafted from, 0 or 1; else empty.
    """

    answer_id: str
    moment: float
    version: int
    arm: str
    product_ids: tuple[str, ...]
    teams: tuple[int, ...] = ()


class Outcome(NamedTuple):
    """A click, an add or a purchase that an answer led to; counted once for an answer, a product and a kind."""

    kind: OutcomeKind
    answer_id: str
    version: int
    arm: str
    product_id: str


@dataclass(frozen=True, slots=True)
class Added:
    """What became of some events of one session.

    Attributes:
        accepted: how many are new.
        duplicates: how many were known by their event ids.
        expired: how many are so old that they cannot begin a session again.
        outcomes: those that are now counted.
    """

    accepted: int
    duplicates: int = 0
    expired: int = 0
    outcomes: tuple[Outcome, ...] = ()


class SessionStore(Protocol):
    """Keeps the last interactions of sessions, bounded in number, bytes and time, and what their answers did.

    All methods raise `SessionsUnavailable` if the store cannot be reached in time.
    """

    async def session(self, session_id: str) -> Session | None:
        """The session as it is kept, its interactions in the order of their moments; None if it has none."""
        ...

    async def add_events(self, session_id: str, events: Sequence[Event]) -> Added:
        """Keep events of a session. Those that came late are put where they belong."""
        ...

    async def add_answer(self, session_id: str, answer: ShownAnswer) -> None:
        """Remember that a session was given an answer, so that later events count for it."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """The sums of `experiments.outcome_counts` over all sessions."""
        ...

    async def gauges(self) -> Mapping[str, int]:
        """For metrics: `sessions` and `bytes` that are kept, `evicted` for lack of room, `damaged` records."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
