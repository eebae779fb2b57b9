"""Sessions as the model can read them: products named by id are looked up, and unreadable interactions left out.

An interaction is unreadable if it names a product that the version does not know, or if the model knows no word of its
text: Chinese titles, or emoji, in a model that learned from English ones. Removals from the cart are read by models
that have a token for them; for others they take the adds back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from indexer.catalogue.catalogue import Catalogue, find_products
from ubm_embed.data.removals import take_back
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.inference.embedder import Embedder

EMPTY = "empty session"
NOTHING_KNOWN = "no known product or search in the session"
ALL_TAKEN_BACK = "nothing in the session but products that were removed from the cart"
UNREADABLE = "text that the model cannot read"


@dataclass(frozen=True)
class ResolvedSession:
    """A session as a version reads it.

    Attributes:
        session: its interactions that have a text, with products in full.
        unknown: ids that the version does not know, each once, as they were written.
        seen: positions of the session's products in the catalogue, those that were removed from the cart included.
        fallback: why nothing can be read, or None if something can.
    """

    session: Session
    unknown: tuple[str, ...] = ()
    seen: frozenset[int] = frozenset()
    fallback: str | None = None


def resolve_sessions(
    sessions: Sequence[Session], catalogue: Catalogue, *, reads_removals: bool = False
) -> list[ResolvedSession]:
    """Each session as a version with this catalogue reads it.

    Args:
        reads_removals: whether all models that read the sessions have a token for removals from the cart.
    """
    interactions = [interaction for session in sessions for interaction in session.interactions]
    by_id = {one.product_id for one in interactions if one.product_id is not None}
    inline = {one.product.product_id for one in interactions if one.product is not None}
    # All at once: picking rows one by one would cost more than the model.
    positions = find_products(catalogue, (name for name in by_id | inline if name is not None))
    products = catalogue.products(positions[name] for name in by_id if name in positions)
    return [_resolve(session, positions, products, reads_removals) for session in sessions]


def as_read(resolved: ResolvedSession, embedder: Embedder) -> ResolvedSession:
    """A session without the interactions that the model cannot read; `fallback` says so if nothing is left."""
    if resolved.fallback is not None:
        return resolved
    session = embedder.readable_session(resolved.session)
    return replace(resolved, session=session, fallback=None if session.interactions else UNREADABLE)


def _resolve(
    session: Session, positions: Mapping[str, int], products: dict[int, Product], reads_removals: bool
) -> ResolvedSession:
    readable, unknown = [], []
    for interaction in session.interactions:
        name = interaction.product_id
        if name is not None and name in positions:
            readable.append(replace(interaction, product_id=None, product=products[positions[name]]))
        elif name is not None:
            unknown.append(name)
            if interaction.action is Action.REMOVE and not reads_removals:
                readable.append(interaction)  # for its product may have been added in full
        elif _has_text(interaction):
            readable.append(interaction)
    names = (one.product_id if one.product is None else one.product.product_id for one in session.interactions)
    left = tuple(readable) if reads_removals else take_back(readable)
    return ResolvedSession(
        Session(left, session.session_id),
        unknown=tuple(dict.fromkeys(unknown)),
        seen=frozenset(positions[name] for name in names if name is not None and name in positions),
        fallback=None if left else _nothing_left(session, readable),
    )


def _nothing_left(session: Session, readable: Sequence[Interaction]) -> str:
    if readable:
        return ALL_TAKEN_BACK
    return NOTHING_KNOWN if session.interactions else EMPTY


def _has_text(interaction: Interaction) -> bool:
    if interaction.product is not None:
        return interaction.product.has_text
    return bool((interaction.query or "").strip())
