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

_REASONS = 3
_WORD = re.compile(r"\w{2,}")


def reasons_of(
    embedder: Embedder, session: Session, query: FloatArray, products: Sequence[Product], vectors: FloatArray
) -> list[tuple[Reason, ...]]:
    """For each match, the interactions that pulled it up most, at most three, the strongest first.

    Every interaction is left out once, and the rest read again: S small passes of the session encoder in one batch, for
    the vectors of the interactions themselves are known.

    Args:
        session: as it was read, with products in full; at least one interaction.
        query: its vector, [D].
        products: the matches, K.
        vectors: theirs, [K, D].
    """
    first = max(0, len(session.interactions) - embedder.model.config.max_interactions)
    read = session.interactions[first:]
    without = np.zeros((len(read), query.size), np.float32)
    if len(read) > 1:  # of a session of one, nothing is left
        rests = [Session(read[:place] + read[place + 1 :]) for place in range(len(read))]
        without = embedder.embed_sessions(rests)
    effects: FloatArray = (query - without).astype(np.float32) @ vectors.T
    return [_strongest(read, first, effects[:, match], product) for match, product in enumerate(products)]


def _strongest(read: Sequence[Interaction], first: int, effects: FloatArray, product: Product) -> tuple[Reason, ...]:
    strongest = np.argsort(-effects, kind="stable")[:_REASONS].tolist()
    return tuple(
        _reason(read[place], first + place + 1, float(effects[place]), product)
        for place in strongest
        if effects[place] > 0
    )


def _reason(interaction: Interaction, place: int, effect: float, product: Product) -> Reason:
    other = interaction.product
    words = _words(interaction.query or "") if other is None else _words_of(other)
    shared = tuple(word for word in _words_of(product) if word in words)
    named = None if other is None else other.product_id
    return Reason(place, str(interaction.action), named, interaction.query, effect, shared)


def _words_of(product: Product) -> dict[str, None]:
    values = (value for _, value in product.attributes)
    return _words(" ".join([product.title, product.category or "", *values]))


def _words(text: str) -> dict[str, None]:
    """Each word once, in order."""
    return dict.fromkeys(_WORD.findall(text.lower()))
