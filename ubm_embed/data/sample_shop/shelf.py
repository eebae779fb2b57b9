"""The sample shop's products in an order that finds those of a type, brand and style without a scan.

Letters: M products, n of them on the shelf, B shoppers, C products on a page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.sample_shop.catalogue import WORDS, SampleCatalogue
from ubm_embed.data.sample_shop.product_types import TYPES
from ubm_embed.data.sample_shop.sampling import RangeSampler, zipf_weights
from ubm_embed.data.sample_shop.vocabulary import BRANDS

# How often a slot of a page gets: any product of the type, one of the brand as well, one of the style as well.
_PAGE = (0.72, 0.14, 0.14)
_BESTSELLERS = 1.0  # exponent of Zipf's law for popularity within a type


@dataclass(frozen=True)
class Shelf:
    """Products ordered by type, brand and style, so that those of each combination are one range.

    Attributes:
        rows: [n] products in shelf order, without the newest of the catalogue.
        starts: [types * brands * styles + 1] where on the shelf each combination begins.
        popularity: over the n products, skewed within each type.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    popularity: RangeSampler

    @classmethod
    def from_catalogue(cls, catalogue: SampleCatalogue, rng: np.random.Generator) -> Shelf:
        """All but the newest products, with a random popularity."""
        size = catalogue.size - catalogue.newest
        keys = _shelf_key(catalogue.types[:size], catalogue.brands[:size], catalogue.values[:size, 0])
        rows = np.argsort(keys, kind="stable").astype(np.int32)
        starts = np.searchsorted(keys[rows], np.arange(len(TYPES) * len(BRANDS) * len(WORDS) + 1))
        ranks = _ranks(rng, catalogue.types[:size])
        return cls(rows, starts, RangeSampler.from_weights(zipf_weights(ranks[rows], _BESTSELLERS)))

    def has(self, types: IntArray) -> NDArray[np.bool_]:
        """Whether there is a product of each of these types."""
        return self._first(types) < self._first(types + 1)

    def page(
        self, rng: np.random.Generator, types: IntArray, brands: IntArray, styles: IntArray, count: int
    ) -> NDArray[np.int32]:
        """A page for each of B shoppers who want a type, and preferably a brand and a style: [B, C] products.

        Popular products come up more often, and may come up twice. Every type must be on the shelf.
        """
        level = rng.choice(len(_PAGE), size=(types.size, count), p=_PAGE)
        ranges = [
            (self._first(types), self._first(types + 1)),
            (self._first(types, brands), self._first(types, brands + 1)),
            (self._first(types, brands, styles), self._first(types, brands, styles + 1)),
        ]
        first, last = (np.broadcast_to(ends[:, None], level.shape) for ends in ranges[0])
        for narrower, (start, end) in enumerate(ranges[1:], start=1):
            narrow = (level >= narrower) & (start < end)[:, None]
            first, last = np.where(narrow, start[:, None], first), np.where(narrow, end[:, None], last)
        return self.rows[self.popularity.draw(rng, first, last)]

    def bestsellers(self, rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        """Products of any type, by popularity: [count]."""
        start = np.zeros(count, dtype=np.int64)
        return self.rows[self.popularity.draw(rng, start, start + self.rows.size)]

    def _first(self, types: IntArray, brands: IntArray | int = 0, styles: IntArray | int = 0) -> NDArray[np.int64]:
        return self.starts[_shelf_key(types, brands, styles)]


def _shelf_key(types: IntArray, brands: IntArray | int, styles: IntArray | int) -> NDArray[np.int64]:
    """A number for each combination, ascending in shelf order."""
    return (np.asarray(types, dtype=np.int64) * len(BRANDS) + brands) * len(WORDS) + styles


def _ranks(rng: np.random.Generator, types: IntArray) -> NDArray[np.int64]:
    """[n] a random order of popularity within each type, from 0."""
    order = np.lexsort([rng.random(types.size), types])
    ranks = np.empty(types.size, dtype=np.int64)
    ranks[order] = np.arange(types.size) - np.searchsorted(types[order], types[order])
    return ranks
