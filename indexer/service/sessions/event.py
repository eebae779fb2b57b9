"""One event: what a shopper did, when, and with which answer."""

from __future__ import annotations

from dataclasses import dataclass

from ubm_embed.data.session import Interaction


@dataclass(frozen=True, slots=True)
class Event:
    """An interaction as it was sent.

    Attributes:
        moment: seconds since 1970; of the arrival if the event says nothing.
        event_id: events of a session that share it are one event.
        answer_id: the answer that the shopper acted on, if the page knows it.
    """

    interaction: Interaction
    moment: float
    event_id: str | None = None
    answer_id: str | None = None
