"""Events and answers as rows of the log.

`EVENT_COLUMNS` have the names that `ubm-embed ingest --from native` reads, which leaves out `answer_id`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from indexer.search.answer import Answer
from indexer.service.sessions.event import Event
from indexer.service.sessions.session_store import ShownAnswer
from ubm_embed.data.session import Product, encodable

EVENT_COLUMNS = (
    "session_id",
    "timestamp",
    "action",
    "product_id",
    "query",
    "title",
    "category",
    "attributes",
    "message_id",
    "answer_id",
)
ANSWER_COLUMNS = (
    "answer_id",
    "session_id",
    "timestamp",
    "version",
    "model_id",
    "arm",
    "fallback",
    "product_ids",
    "scores",
    "teams",
    "k",
    "took_ms",
)
# What a row takes besides its texts, measured: as such, for each match, and for each attribute.
_ROW_BYTES, _MATCH_BYTES, _ATTRIBUTE_BYTES = 250, 64, 200
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that programs which read Parquet agree on


class LogRow(NamedTuple):
    """One row.

    Attributes:
        values: one for each column.
        nbytes: about how much memory it takes.
    """

    values: tuple[Any, ...]
    nbytes: int


def event_row(session_id: str, event: Event) -> LogRow:
    """A row in `EVENT_COLUMNS`."""
    one = event.interaction
    product = one.product or Product("", product_id=one.product_id)
    texts = (product.product_id, one.query, product.title or None, product.category)
    # Ids of events are only those of their session, ids of messages are those of the whole log.
    message_id = None if event.event_id is None else f"{session_id}/{event.event_id}"
    pairs = tuple({"name": encodable(name), "value": encodable(value)} for name, value in product.attributes)
    values = (
        encodable(session_id),
        _microseconds(event.moment),
        str(one.action),
        *map(_encodable, texts),
        pairs or None,
        _encodable(message_id),
        _encodable(event.answer_id),
    )
    attributes = sum(_ATTRIBUTE_BYTES + _size(pair.values()) for pair in pairs)
    return LogRow(values, _ROW_BYTES + attributes + _size((session_id, *texts, message_id, event.answer_id)))


def answer_row(session_id: str | None, shown: ShownAnswer, answer: Answer, k: int) -> LogRow:
    """A row in `ANSWER_COLUMNS`."""
    values = (
        shown.answer_id,
        _encodable(session_id),
        _microseconds(shown.moment),
        shown.version,
        answer.model_id,
        shown.arm,
        answer.fallback,
        shown.product_ids,
        tuple(match.score for match in answer.matches),
        shown.teams,
        k,
        answer.took_ms,
    )
    matches = _MATCH_BYTES * len(shown.product_ids) + _size(shown.product_ids)
    return LogRow(values, _ROW_BYTES + matches + _size((session_id, shown.answer_id)))


def _microseconds(moment: float) -> int:
    """Since 1970; whatever a clock says, a time that a Parquet file can hold."""
    return round(min(max(0.0, moment), _LAST_SECOND) * 1e6)


def _encodable(text: str | None) -> str | None:
    return None if text is None else encodable(text)


def _size(texts: Iterable[str | None]) -> int:
    return sum(map(sys.getsizeof, texts))
