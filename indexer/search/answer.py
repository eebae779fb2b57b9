"""What a store answers: matches, and what there is to say about them."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DIGITS = 6  # a float32 score has no more


@dataclass(frozen=True, slots=True)
class Reason:
    """What one interaction of a session did for a match.

    Attributes:
        interaction: its place in the session, from 1, of those that could be read.
        action: what the shopper did.
        product_id, query: with which product, or for which phrase.
        effect: how much lower the match would score without it.
        words: words of the match that it has too, in the match's order.
    """

    interaction: int
    action: str
    product_id: str | None
    query: str | None
    effect: float
    words: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        named = {"query": self.query} if self.product_id is None else {"product_id": self.product_id}
        effect = round(self.effect, _DIGITS)
        return {
            "interaction": self.interaction,
            "action": self.action,
            **named,
            "effect": effect,
            "words": list(self.words),
        }


@dataclass(frozen=True, slots=True)
class Match:
    """One product of an answer.

    Attributes:
        rank: from 1.
        score: inner product, at most 1, higher is better; None where popularity chose.
        fields: the shop's further columns, such as price, as they are in the table.
        reasons: which interactions pulled it up, where that was asked for and the model answered.
    """

    rank: int
    product_id: str
    score: float | None
    title: str | None
    category: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Reason, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the further columns beside our own; one that has a name of ours gives way."""
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
        version: of the store, that answered.
        fallback: why the popular products answer, or None where the model does.
        unknown: ids of the session that the version does not know.
        took_ms: milliseconds of the call, of all its sessions together.
        purchase_intention: probability of a purchase in this session, where a model was given to say so.
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON; a prediction that nobody made is left out."""
        predicted = {"purchase_intention": self.purchase_intention, "remaining_length": self.remaining_length}
        return {
            "session_id": self.session_id,
            "version": self.version,
            "model_id": self.model_id,
            "fallback": self.fallback,
            "unknown": list(self.unknown),
            **{name: round(value, _DIGITS) for name, value in predicted.items() if value is not None},
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
