"""The most that one request may ask of a store, so that none costs more than its share of time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ubm_embed.data.session import MAX_INTERACTIONS, Session
from ubm_embed.errors import InvalidData
from ubm_embed.validation import FrozenModel

if TYPE_CHECKING:
    from indexer.search.query import Query
    from indexer.search.ranking import Rules

Count = Annotated[int, Field(ge=1)]


class Limits(FrozenModel):
    """What a request may ask at most. Beyond a limit it is refused; only sessions are cut.

    Attributes:
        k: matches of an answer.
        sessions: sessions of one call.
        interactions: the last ones of a session that are looked at; earlier ones are ignored.
        excluded: ids in `Rules.exclude`.
        boosted: ids in `Rules.boost`.
        capped_columns: columns in `Rules.max_per`.
        condition_characters: length of `Rules.where`.
        negatives: products in `Query.negatives`.

    Raises:
        ValueError: a limit below 1.
    """

    k: Count = 1_000
    sessions: Count = 1_000
    interactions: Count = MAX_INTERACTIONS
    excluded: Count = 100_000
    boosted: Count = 10_000
    capped_columns: Count = 8
    condition_characters: Count = 10_000
    negatives: Count = 100

    def check(self, k: int, rules: Rules, *, sessions: int = 1) -> None:
        """Refuse a request that asks for too much.

        Raises:
            InvalidData: names the field and its limit.
            ValueError: `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        _check("k", k, self.k)
        _check("sessions", sessions, self.sessions, "sessions in one call")
        _check("exclude", len(rules.exclude), self.excluded, "ids")
        _check("boost", len(rules.boost), self.boosted, "ids")
        _check("max_per", len(rules.max_per), self.capped_columns, "columns")
        _check("where", len(rules.where or ""), self.condition_characters, "characters")

    def check_queries(self, queries: Sequence[Query]) -> None:
        """As `check`, for queries of one call.

        Raises:
            InvalidData: as of `check`, or a negative is a search.
            ValueError: as of `check`.
        """
        _check("sessions", len(queries), self.sessions, "sessions in one call")
        for query in queries:
            self.check(query.k, query.rules)
            _check("negatives", len(query.negatives), self.negatives, "products")
            if any(one.query is not None for one in query.negatives):
                raise InvalidData("expected products, got a search", field="negatives")

    def shortened(self, query: Query) -> Query:
        """A query with the last interactions of its session only."""
        session, limit = query.session, self.interactions
        if len(session.interactions) <= limit:
            return query
        return replace(query, session=Session(session.interactions[-limit:], session.session_id))


def _check(field: str, value: int, limit: int, what: str = "") -> None:
    if value > limit:
        raise InvalidData(f"expected at most {f'{limit:,} {what}'.strip()}, got {value:,}", field=field)
