"""Sessions as the model can read them: products named by id are looked up, what cannot be read is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from indexer.search.catalogue import Catalogue
from ubm_embed.data.session import Interaction, Product, Session

EMPTY = "empty session"
NOTHING_KNOWN = "no known product or search in the session"


@dataclass(frozen=True)
class ReadableSession:
    """What a version makes of a session.

    Attributes:
        session: only interactions that have a text, products in full.
        unknown: ids that the version does not know, each once.
        seen: positions of the session's products in the catalogue.
        fallback: why there is nothing to read, or None where there is.
    """

    session: Session
    unknown: tuple[str, ...] = ()
    seen: frozenset[int] = frozenset()
    fallback: str | None = None


def readable_sessions(sessions: Sequence[Session], catalogue: Catalogue) -> list[ReadableSession]:
    """Each session as a version with this catalogue reads it."""
    named = {one.product_id for session in sessions for one in session.interactions if one.product_id is not None}
    # All at once: picking rows one by one would cost more than the model.
    inline = {one.product.product_id for session in sessions for one in session.interactions if one.product is not None}
    positions = catalogue.find(name for name in named | inline if name is not None)
    products = catalogue.products(positions[name] for name in named if name in positions)
    return [_readable(session, positions, products) for session in sessions]


def _readable(session: Session, positions: Mapping[str, int], products: dict[int, Product]) -> ReadableSession:
    kept, unknown = [], []
    for interaction in session.interactions:
        name = interaction.product_id
        if name is not None and name in positions:
            kept.append(replace(interaction, product_id=None, product=products[positions[name]]))
        elif name is not None:
            unknown.append(name)
        elif _has_text(interaction):
            kept.append(interaction)
    ids = (one.product.product_id for one in kept if one.product is not None)
    return ReadableSession(
        Session(tuple(kept), session.session_id),
        unknown=tuple(dict.fromkeys(unknown)),
        seen=frozenset(positions[name] for name in ids if name is not None and name in positions),
        fallback=None if kept else NOTHING_KNOWN if session.interactions else EMPTY,
    )


def _has_text(interaction: Interaction) -> bool:
    if interaction.product is not None:
        return interaction.product.has_text
    return bool((interaction.query or "").strip())
