"""Why a product matches a session: which interactions pulled it up, and which words they share.

Letters: S interactions, K matches, D width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from indexer.search.answer import Reason
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Interaction, Product, Session
from ubm_embed.inference.embedder import Embedder

_MAX_REASONS = 3
_WORD = re.compile(r"\w{2,}")


def reasons_for(
    embedder: Embedder, session: Session, query: FloatArray, products: Sequence[Product], vectors: FloatArray
) -> list[tuple[Reason, ...]]:
    """For each match, the interactions that pulled it up most, at most three, the strongest first.

    Each interaction is left out once and the rest read again: S small passes of the session encoder in one batch, since
    the vectors of the interactions are already known.

    Args:
        session: as it was read, with products in full; at least one interaction.
        query: its vector, [D].
        products: the matches, K.
        vectors: of the matches, [K, D].
    """
    first = max(0, len(session.interactions) - embedder.max_interactions)
    interactions = session.interactions[first:]
    without = np.zeros((len(interactions), query.size), np.float32)
    if len(interactions) > 1:  # without its only interaction nothing is left of a session
        rests = [interactions[:index] + interactions[index + 1 :] for index in range(len(interactions))]
        without = embedder.embed_sessions([Session(rest) for rest in rests])
    effects: FloatArray = (query - without).astype(np.float32) @ vectors.T
    return [_strongest(interactions, first, effects[:, match], product) for match, product in enumerate(products)]


def _strongest(
    interactions: Sequence[Interaction], first: int, effects: FloatArray, product: Product
) -> tuple[Reason, ...]:
    strongest = np.argsort(-effects, kind="stable")[:_MAX_REASONS].tolist()
    return tuple(
        _reason(interactions[index], first + index + 1, float(effects[index]), product)
        for index in strongest
        if effects[index] > 0
    )


def _reason(interaction: Interaction, number: int, effect: float, match: Product) -> Reason:
    product = interaction.product
    words = _words(interaction.query or "") if product is None else _words_of(product)
    shared = tuple(word for word in _words_of(match) if word in words)
    product_id = None if product is None else product.product_id
    return Reason(number, str(interaction.action), product_id, interaction.query, effect, shared)


def _words_of(product: Product) -> dict[str, None]:
    values = (value for _, value in product.attributes)
    return _words(" ".join([product.title, product.category or "", *values]))


def _words(text: str) -> dict[str, None]:
    """Each word once, in order."""
    return dict.fromkeys(_WORD.findall(text.lower()))
