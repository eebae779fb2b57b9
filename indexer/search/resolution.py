"""Sessions as the model can read them: products named by id are looked up, and unreadable interactions left out.

An interaction is unreadable if it names a product that the version does not know, or if the model knows no word of its
text: Chinese titles, or emoji, in a model that learned from English ones. Removals from the cart are read by models
that have a token for them; for others they take the adds back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from indexer.catalogue.catalogue import Catalogue, find_products
from ubm_embed.data.removals import take_back
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.shared_cache import SharedCache

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


class _Known(NamedTuple):
    """An interaction with a product of the version.

    Attributes:
        position: of the product.
        interaction: with the product in full.
        texts: of the product, so that their size is counted where this is remembered.
    """

    position: int
    interaction: Interaction
    texts: tuple[Any, ...]


class SessionResolver:
    """Reads sessions as a version with this catalogue does. Several threads may ask.

    Args:
        reads_removals: whether all models that read the sessions have a token for removals from the cart.
        cache_bytes: limit of the interactions with known products that are remembered.
    """

    def __init__(self, catalogue: Catalogue, *, reads_removals: bool = False, cache_bytes: int = 64 << 20) -> None:
        self._catalogue = catalogue
        self._reads_removals = reads_removals
        self._known: SharedCache[tuple[Action, str], _Known | None] = SharedCache(cache_bytes)

    def resolve(self, sessions: Sequence[Session]) -> list[ResolvedSession]:
        """Each session as the version reads it."""
        interactions = [interaction for session in sessions for interaction in session.interactions]
        # All at once: picking rows one by one would cost more than the model.
        keys = [(one.action, one.product_id) for one in interactions if one.product_id is not None]
        known = dict(zip(keys, self._known.get(keys, self._look_up), strict=True))
        given = [one.product.product_id for one in interactions if one.product is not None]
        positions = find_products(self._catalogue, filter(None, given)) if given else {}
        return [self._resolve(session, known, positions) for session in sessions]

    def _look_up(self, keys: list[tuple[Action, str]]) -> list[_Known | None]:
        positions = find_products(self._catalogue, {name for _, name in keys})
        products = self._catalogue.products(positions.values())
        return [
            _known(action, positions[name], products[positions[name]]) if name in positions else None
            for action, name in keys
        ]

    def _resolve(
        self, session: Session, known: Mapping[tuple[Action, str], _Known | None], positions: Mapping[str, int]
    ) -> ResolvedSession:
        readable, unknown, seen = list[Interaction](), list[str](), set[int]()
        for interaction in session.interactions:
            name, product = interaction.product_id, interaction.product
            if name is not None:
                found = known[interaction.action, name]
                if found is not None:
                    readable.append(found.interaction)
                    seen.add(found.position)
                    continue
                unknown.append(name)
                if interaction.action is Action.REMOVE and not self._reads_removals:
                    readable.append(interaction)  # for its product may have been added in full
            elif product is None:
                if (interaction.query or "").strip():
                    readable.append(interaction)
            else:
                position = positions.get(product.product_id or "")
                if position is not None:
                    seen.add(position)
                if product.has_text:
                    readable.append(interaction)
        left = tuple(readable) if self._reads_removals else take_back(readable)
        return ResolvedSession(
            Session(left, session.session_id),
            tuple(dict.fromkeys(unknown)),
            frozenset(seen),
            None if left else _nothing_left(session, readable),
        )


def as_read(resolved: ResolvedSession, embedder: Embedder) -> ResolvedSession:
    """A session without the interactions that the model cannot read; `fallback` says so if nothing is left."""
    if resolved.fallback is not None:
        return resolved
    session = embedder.readable_session(resolved.session)
    if len(session.interactions) == len(resolved.session.interactions):
        return resolved
    return replace(resolved, session=session, fallback=None if session.interactions else UNREADABLE)


def _known(action: Action, position: int, product: Product) -> _Known:
    texts = (product.title, product.category, product.attributes, product.product_id)
    return _Known(position, Interaction(action, product=product), texts)


def _nothing_left(session: Session, readable: Sequence[Interaction]) -> str:
    if readable:
        return ALL_TAKEN_BACK
    return NOTHING_KNOWN if session.interactions else EMPTY
