"""An interaction as a session keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec

from indexer.service.sessions.event import Event
from ubm_embed.data.session import Action, Interaction, Product

MAX_INTERACTIONS = 32
MAX_CHARACTERS = 50_000  # of phrases, ids and inline products of a session


class KeptInteraction(msgspec.Struct, frozen=True, array_like=True):
    """An interaction and its moment; `subject` is an id or a product, or of a search its phrase."""

    moment: float
    action: Action
    subject: str | Product

    @classmethod
    def from_event(cls, event: Event) -> Self:
        """The interaction of an event."""
        one = event.interaction
        subject = one.product or (one.query if one.product_id is None else one.product_id)
        assert subject is not None  # as `Interaction` takes care of
        return cls(event.moment, one.action, subject)

    @property
    def interaction(self) -> Interaction:
        """As a model reads it."""
        if isinstance(self.subject, Product):
            return Interaction(self.action, product=self.subject)
        if self.action is Action.SEARCH:
            return Interaction(self.action, query=self.subject)
        return Interaction(self.action, product_id=self.subject)

    @property
    def characters(self) -> int:
        """The length of its texts."""
        return len(self.subject) if isinstance(self.subject, str) else text_length(self.subject)

    def until(self, now: float) -> KeptInteraction:
        """The same, at most at `now`."""
        return self if self.moment <= now else KeptInteraction(now, self.action, self.subject)


def last_interactions(interactions: Iterable[KeptInteraction]) -> tuple[KeptInteraction, ...]:
    """The last ones, as many as may be kept, by their moments; those of one moment stay in their order."""
    ordered = sorted(interactions, key=lambda one: one.moment)[-MAX_INTERACTIONS:]
    characters = 0
    for number, one in enumerate(reversed(ordered)):
        characters += one.characters
        if characters > MAX_CHARACTERS:
            return tuple(ordered[len(ordered) - number :])
    return tuple(ordered)


def text_length(product: Product) -> int:
    """Characters of all texts of a product."""
    texts = (product.title, product.category or "", product.product_id or "")
    return sum(map(len, texts)) + sum(len(name) + len(value) for name, value in product.attributes)
