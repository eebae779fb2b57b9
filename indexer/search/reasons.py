"""Why a product matches a session: which interactions pulled it up, by their texts or by what shoppers did next, and
which words they share.

Letters: S interactions, K matches, D width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from indexer.search.answer import Reason
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Interaction, Product, Session
from ubm_embed.data.text.tokenizer import MAX_TEXT_CHARACTERS, cut_product
from ubm_embed.inference.embedder import Embedder

_MAX_REASONS = 3
_WORD = re.compile(r"\w{2,}")


def reasons_for(
    embedder: Embedder,
    session: Session,
    query: FloatArray,
    products: Sequence[Product],
    vectors: FloatArray,
    move: Callable[[FloatArray], FloatArray] | None = None,
    counted: FloatArray | None = None,
) -> list[tuple[Reason, ...]]:
    """For each match, the interactions that pulled it up most, at most three, the strongest first.

    Each interaction is left out once and the rest read again: S small passes of the session encoder in one batch, since
    the vectors of the interactions are already known.

    Args:
        session: as it was read, with products in full; at least one interaction.
        query: its vector, [D].
        products: the matches, K.
        vectors: of the matches, [K, D].
        move: what else was done to the session's vector: [B, D] -> [B, D].
        counted: how much lower each match would score if nothing had followed each interaction, [K, S]; by default 0.
    """
    first = max(0, len(session.interactions) - embedder.max_interactions)
    interactions = session.interactions[first:]
    without = np.zeros((len(interactions), query.size), np.float32)
    if len(interactions) > 1:  # without its only interaction nothing is left of a session
        rests = [interactions[:index] + interactions[index + 1 :] for index in range(len(interactions))]
        without = embedder.embed_sessions([Session(rest) for rest in rests])
        without = without if move is None else move(without)
    effects: FloatArray = (query - without).astype(np.float32) @ vectors.T
    by_counts = np.zeros_like(effects) if counted is None else counted[:, first:].T
    effects += by_counts
    read = [_Read(first + index, one, _words_read(one)) for index, one in enumerate(interactions, start=1)]
    return [_strongest(read, effects[:, match], by_counts[:, match], product) for match, product in enumerate(products)]


class _Read(NamedTuple):
    """An interaction that the model read: its number in the session, and its words, each once."""

    number: int
    interaction: Interaction
    words: Mapping[str, None]


def _strongest(read: Sequence[_Read], effects: FloatArray, counted: FloatArray, match: Product) -> tuple[Reason, ...]:
    strongest = [index for index in np.argsort(-effects, kind="stable")[:_MAX_REASONS].tolist() if effects[index] > 0]
    words = _words_of(match) if strongest else {}
    return tuple(_reason(read[index], float(effects[index]), float(counted[index]), words) for index in strongest)


def _reason(read: _Read, effect: float, counts: float, words: Mapping[str, None]) -> Reason:
    interaction, product = read.interaction, read.interaction.product
    product_id = None if product is None else product.product_id
    shared = tuple(word for word in words if word in read.words)
    return Reason(read.number, str(interaction.action), product_id, interaction.query, effect, shared, counts)


def _words_read(interaction: Interaction) -> dict[str, None]:
    return _words(interaction.query or "") if interaction.product is None else _words_of(interaction.product)


def _words_of(product: Product) -> dict[str, None]:
    title, category, attributes = cut_product(product)
    return _words(" ".join([title, category or "", *(value for _, value in attributes)]))


def _words(text: str) -> dict[str, None]:
    """The words, each once and in order, of as much of a text as the model may read."""
    return dict.fromkeys(_WORD.findall(text[:MAX_TEXT_CHARACTERS].lower()))
