"""The words of products that a revision has appended, in lists that are merged as they become many.

Letters: N positions appended, K of them new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexer.lexical.posting_lists import PostingListsBuilder
from indexer.lexical.words_file import PostingLists
from ubm_embed.data.session import Product


@dataclass(frozen=True, slots=True)
class AppendedWords:
    """Lists whose positions are counted from the first that was appended. They never change.

    Attributes:
        mean_length: of the version, by which frequencies are made.
        count: N.
        parts: those that were appended first come first.
    """

    mean_length: float
    count: int = 0
    parts: tuple[PostingLists, ...] = ()

    def extended(self, products: Sequence[Product | None]) -> AppendedWords:
        """The same with the words of the next positions: [K]. None stands for a position without a product."""
        if not products:
            return self
        there = [(self.count + at, product) for at, product in enumerate(products) if product is not None]
        builder = PostingListsBuilder(self.mean_length)
        builder.add(np.array([position for position, _ in there], np.int64), [product for _, product in there])
        count, parts = self.count + len(products), [*self.parts, builder.build()]
        # Of n entries there are at most log2(n) parts, and each is merged as often.
        while len(parts) > 1 and parts[-1].products.size * 2 > parts[-2].products.size:
            parts[-2:] = [self._merged(parts[-2:], count)]
        return AppendedWords(self.mean_length, count, tuple(parts))

    def _merged(self, parts: Sequence[PostingLists], count: int) -> PostingLists:
        builder = PostingListsBuilder(self.mean_length)
        for part in parts:
            builder.carry(part, np.arange(count, dtype=np.int32))
        return builder.build()
