"""Inline products that a version knows by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from indexer.catalogue.catalogue import Catalogue, find_products
from indexer.service.sessions.event import Event
from ubm_embed.data.session import Interaction


def prefer_known_ids(events: Sequence[Event], catalogue: Catalogue) -> tuple[Event, ...]:
    """The events, with an id alone for each inline product that the version knows by its id.

    The store's own text is what training saw, and its vector is cached.

    Raises:
        InvalidData: a file of the version is damaged.
    """
    inline = {product.product_id for event in events if (product := event.interaction.product)} - {None}
    known = find_products(catalogue, filter(None, inline)) if inline else {}
    return tuple(_by_id(event) if _inline_id(event) in known else event for event in events)


def _inline_id(event: Event) -> str | None:
    product = event.interaction.product
    return None if product is None else product.product_id


def _by_id(event: Event) -> Event:
    return replace(event, interaction=Interaction(event.interaction.action, product_id=_inline_id(event)))
