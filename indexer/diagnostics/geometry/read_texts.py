"""What the model reads of products: which it cannot read, and which are cut.

Letters: K products, P pieces of text of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexer.diagnostics.space import Space
from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.session import Product
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TEXT_TOKENS, MAX_TITLE_TOKENS, InteractionTokenizer, cut_product


@dataclass(frozen=True)
class ReadTexts:
    """Products and their tokens.

    Attributes:
        tokens: as the model reads them: K rows.
    """

    tokenizer: InteractionTokenizer
    products: Sequence[Product]
    tokens: TokenTable

    @classmethod
    def of_rows(cls, space: Space, rows: IntArray) -> ReadTexts:
        """The products in these rows of a space: [K]."""
        tokenizer, products = space.embedder.tokenizer, space.products(rows)
        return cls(tokenizer, products, tokenizer.texts([*map(cut_product, products)]))

    @cached_property
    def is_unreadable(self) -> BoolArray:
        """[K] which have no word that the model knows, but marks and unknown tokens alone, or fewer than unknown ones.

        Numbers and units are known in any language.
        """
        ids = self.tokens.ids
        known, unknown = self._count(self.tokenizer.is_word[ids]), self._count(ids == self.tokenizer.unknown)
        return np.asarray((known == 0) | (known < unknown))

    def _count(self, mask: BoolArray) -> IntArray:
        """How many of each row's tokens the mask has: [K]."""
        return np.diff(np.concatenate([[0], np.cumsum(mask)])[self.tokens.offsets])

    @cached_property
    def is_cut(self) -> BoolArray:
        """[K] which have a title, or a whole text, that is longer than what is read of it."""
        pieces: list[str] = []
        owner: list[int] = []
        is_title: list[bool] = []
        for number, (title, category, attributes) in enumerate(map(cut_product, self.products)):
            texts = [title, category or "", *(value for _, value in attributes)]
            pieces += texts
            owner += [number] * len(texts)
            is_title += [True] + [False] * (len(texts) - 1)
        lengths, titles = self.tokenizer.search_phrases(pieces).lengths, np.array(is_title, bool)
        read = np.where(titles, np.minimum(lengths, MAX_TITLE_TOKENS), lengths) + (lengths > 0)  # and a mark before it
        too_long = np.bincount(owner, read, len(self.products)) > MAX_TEXT_TOKENS
        long_title = np.zeros(len(self.products), bool)
        long_title[np.array(owner, np.int64)[titles & (lengths > MAX_TITLE_TOKENS)]] = True
        cut: BoolArray = too_long | long_title
        return cut
