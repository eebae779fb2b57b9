"""An answer as the JSON that a client gets."""

from __future__ import annotations

from typing import Any

from indexer.service.http.answers.known_sessions import KnownSession
from indexer.service.http.answers.shown_answers import GivenAnswer


def answer_document(given: GivenAnswer, known: KnownSession | None = None) -> dict[str, Any]:
    """The answer as JSON, with its id, and with its arm if it has one.

    Args:
        known: the session that it answers; None if it answers a product.
    """
    document: dict[str, Any] = {"answer_id": given.answer_id}
    if given.arm:
        document["arm"] = given.arm
    document |= given.answer.to_dict()
    if known is not None and known.missing == "sessions unavailable":
        document["sessions"] = "unavailable"
    return document
