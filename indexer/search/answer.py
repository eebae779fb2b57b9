"""The answer of a store: its matches, why they match, and what a model predicts of the session."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DIGITS = 6  # more than these a float32 score does not have


@dataclass(frozen=True, slots=True)
class Reason:
    """How one interaction of a session pulled up a match.

    Attributes:
        interaction: its number in the session, from 1, among those that could be read.
        action: what the shopper did.
        product_id, query: the product, or the search phrase.
        effect: how much lower the match would score without it, by its text and by counts.
        words: the words that it shares with the match, in the match's order.
        counts: the part of it that is due to shoppers who went on from its product to the match.
    """

    interaction: int
    action: str
    product_id: str | None
    query: str | None
    effect: float
    words: tuple[str, ...]
    counts: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        subject = {"query": self.query} if self.product_id is None else {"product_id": self.product_id}
        return {
            "interaction": self.interaction,
            "action": self.action,
            **subject,
            "effect": round(self.effect, _DIGITS),
            "counts": round(self.counts, _DIGITS),
            "words": list(self.words),
        }


@dataclass(frozen=True, slots=True)
class Match:
    """One product of an answer.

    Attributes:
        rank: from 1.
        score: cosine of session and product, at most 1, plus bonuses (counts) and boosts; higher is better. None if
            popularity chose.
        fields: the shop's further columns, such as price, as they are in the table.
        reasons: which interactions pulled it up; None unless they were requested and the model answered.
    """

    rank: int
    product_id: str
    score: float | None
    title: str | None
    category: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Reason, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with the shop's columns beside our own keys; a column with one of our names is left out."""
        ours: dict[str, Any] = {
            "rank": self.rank,
            "product_id": self.product_id,
            "score": None if self.score is None else round(self.score, _DIGITS),
            "title": self.title,
            "category": self.category,
        }
        if self.reasons is not None:
            ours["reasons"] = [reason.to_dict() for reason in self.reasons]
        return ours | {name: plain(value) for name, value in self.fields.items() if name not in ours}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one session or one product.

    Attributes:
        version: the store's version that answered.
        revision: of that version; 0 if it answered as it was published.
        model_id: the model that read the session.
        fallback: why the model could not answer; then shared words do, whose matches have a score, and after them the
            popular products. None if the model answered.
        unknown: ids of the session that the version does not know.
        took_ms: milliseconds of the call, of all its sessions together.
        purchase_intention: probability of a purchase in this session; None without a model that predicts it.
        remaining_length: interactions still to come, likewise.
    """

    session_id: str | None
    version: int
    model_id: str
    fallback: str | None
    unknown: tuple[str, ...]
    took_ms: float
    matches: tuple[Match, ...]
    purchase_intention: float | None = None
    remaining_length: float | None = None
    revision: int = 0

    @property
    def label(self) -> str:
        """Version and revision as people write them."""
        return f"{self.version}.{self.revision}" if self.revision else str(self.version)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without predictions that were not made."""
        predictions = {"purchase_intention": self.purchase_intention, "remaining_length": self.remaining_length}
        return {
            "session_id": self.session_id,
            "version": self.version,
            "revision": self.revision,
            "model_id": self.model_id,
            "fallback": self.fallback,
            "unknown": list(self.unknown),
            **{name: round(value, _DIGITS) for name, value in predictions.items() if value is not None},
            "took_ms": round(self.took_ms, 3),
            "matches": [match.to_dict() for match in self.matches],
        }


def plain(value: Any) -> Any:
    """A table's value as JSON has it: times as ISO 8601, durations as seconds, decimals as numbers, bytes as base64."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None  # JSON has no NaN
        case decimal.Decimal():
            return plain(float(value))
        case datetime.timedelta():
            return value.total_seconds()
        case datetime.date() | datetime.time():  # a datetime is a date
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {str(name): plain(inner) for name, inner in value.items()}
        case _:
            return [plain(inner) for inner in value]
