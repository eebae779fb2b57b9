"""Sessions as the model can read them: products named by id are looked up, and unreadable interactions left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from indexer.search.catalogue import Catalogue
from ubm_embed.data.session import Interaction, Product, Session

EMPTY = "empty session"
NOTHING_KNOWN = "no known product or search in the session"


@dataclass(frozen=True)
class ResolvedSession:
    """A session as a version reads it.

    Attributes:
        session: its interactions that have a text, with products in full.
        unknown: ids that the version does not know, each once.
        seen: positions of the session's products in the catalogue.
        fallback: why nothing can be read, or None if something can.
    """

    session: Session
    unknown: tuple[str, ...] = ()
    seen: frozenset[int] = frozenset()
    fallback: str | None = None


def resolve_sessions(sessions: Sequence[Session], catalogue: Catalogue) -> list[ResolvedSession]:
    """Each session as a version with this catalogue reads it."""
    interactions = [interaction for session in sessions for interaction in session.interactions]
    by_id = {one.product_id for one in interactions if one.product_id is not None}
    inline = {one.product.product_id for one in interactions if one.product is not None}
    # All at once: picking rows one by one would cost more than the model.
    positions = catalogue.find(name for name in by_id | inline if name is not None)
    products = catalogue.products(positions[name] for name in by_id if name in positions)
    return [_resolve(session, positions, products) for session in sessions]


def _resolve(session: Session, positions: Mapping[str, int], products: dict[int, Product]) -> ResolvedSession:
    readable, unknown = [], []
    for interaction in session.interactions:
        name = interaction.product_id
        if name is not None and name in positions:
            readable.append(replace(interaction, product_id=None, product=products[positions[name]]))
        elif name is not None:
            unknown.append(name)
        elif _has_text(interaction):
            readable.append(interaction)
    names = (one.product.product_id for one in readable if one.product is not None)
    return ResolvedSession(
        Session(tuple(readable), session.session_id),
        unknown=tuple(dict.fromkeys(unknown)),
        seen=frozenset(positions[name] for name in names if name is not None and name in positions),
        fallback=None if readable else NOTHING_KNOWN if session.interactions else EMPTY,
    )


def _has_text(interaction: Interaction) -> bool:
    if interaction.product is not None:
        return interaction.product.has_text
    return bool((interaction.query or "").strip())
