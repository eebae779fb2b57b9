"""Interactions as token sequences, which are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.session import Action, Interaction, Product
from ubm_embed.data.text.tokenizer import MAX_TEXT_CHARACTERS, InteractionTokenizer, ProductText, cut_product
from ubm_embed.inference.shared_cache import SharedCache

# What the tokens of an interaction depend on. It is cut first, so that its size does not depend on who asks.
_Key = tuple[Action, str | ProductText]


class TokenSequence(NamedTuple):
    """An interaction's tokens `[CLS] action text [SEP]`.

    Attributes:
        tokens: the bytes of their int32 ids: equal sequences are equal, and hashed once.
        has_words: whether one of them is a word that the model knows.
    """

    tokens: bytes
    has_words: bool


class TokenSequences:
    """The token sequences of interactions. Several threads may ask.

    Args:
        cache_bytes: limit of what is remembered.
    """

    def __init__(self, tokenizer: InteractionTokenizer, cache_bytes: int) -> None:
        self._tokenizer = tokenizer
        self._cache: SharedCache[_Key, TokenSequence] = SharedCache(cache_bytes)

    @property
    def size(self) -> int:
        """The bytes that are in use."""
        return self._cache.size

    def read(self, interactions: Sequence[Interaction]) -> list[TokenSequence]:
        """The sequence of each interaction.

        Raises:
            ValueError: an interaction names a product by its id only.
        """
        return self._cache.get(list(map(_key, interactions)), self._tokenise)

    def peek(self, interaction: Interaction) -> TokenSequence | None:
        """The sequence of an interaction if it is remembered.

        Raises:
            ValueError: as of `read`.
        """
        return self._cache.peek(_key(interaction))

    def of_product(self, product: Product) -> bytes:
        """The tokens of a product without an action (paper 3.4.3)."""
        (sequence,) = self._sequences([cut_product(product)], [NO_ACTION])
        return sequence.tokens

    def _tokenise(self, keys: list[_Key]) -> list[TokenSequence]:
        return self._sequences([text for _, text in keys], [action.code for action, _ in keys])

    def _sequences(self, texts: Sequence[str | ProductText], actions: list[int]) -> list[TokenSequence]:
        bodies, is_word = self._tokenizer.texts(texts), self._tokenizer.is_word
        table = interaction_sequences(self._tokenizer, bodies, np.array(actions), np.arange(len(bodies)))
        rows = map(table.row, range(len(table)))
        return [TokenSequence(row.tobytes(), bool(is_word[row].any())) for row in rows]


def _key(interaction: Interaction) -> _Key:
    if interaction.product is not None:
        return interaction.action, cut_product(interaction.product)
    if interaction.query is not None:
        return interaction.action, interaction.query[:MAX_TEXT_CHARACTERS]
    raise ValueError(f"product {interaction.product_id!r} is named by its id only: resolve it first")
