"""Requests that wait, without an event loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from indexer.search.query import Query
from indexer.service.engine.work import Work
from ubm_embed.data.session import Action, Interaction, Session

NEVER = 1e12


def toy_query(unread: int) -> Query:
    """A query that says how many of its interactions are not cached."""
    return Query(Session((Interaction(Action.SEARCH, query=str(unread)),)), k=unread + 1)


def unread_of(work: Work, query: Query) -> int:
    return query.k - 1


def toy_work(*unread: int, deadline: float = NEVER, is_cancelled: bool = False) -> Work:
    future: Any = SimpleNamespace(cancelled=lambda: is_cancelled)
    return Work(future, len(unread), 0.0, deadline, queries=[toy_query(number) for number in unread])


def toy_call(sessions: int = 1) -> Work:
    future: Any = SimpleNamespace(cancelled=lambda: False)
    return Work(future, sessions, 0.0, NEVER, call=lambda retriever: None)
