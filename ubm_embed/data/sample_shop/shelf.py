"""Where the sample shop's products stand, so that a shopper is shown some that fit without reading all of them.

Letters: M products, n of them on the shelf, B shoppers, C products on a page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.sample_shop.catalogue import WORDS, Catalogue
from ubm_embed.data.sample_shop.choice import Choice, favour
from ubm_embed.data.sample_shop.vocabulary import BRANDS, TYPES

# How often the shop fills a place of its page with: any product of the type, one of the brand too, of the style too.
_PAGE = (0.72, 0.14, 0.14)
_BESTSELLERS = 1.0  # how far popularity within a type is skewed


@dataclass(frozen=True)
class Shelf:
    """Products ordered by type, brand and style, so that those of a type, of a brand, of a style are one stretch each.

    Attributes:
        rows: [n] products in shelf order; the newest of the catalogue are not among them.
        starts: [types * brands * styles + 1] where on the shelf each combination begins.
        popularity: over the n products; skewed within each type.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    popularity: Choice

    @classmethod
    def of(cls, catalogue: Catalogue, rng: np.random.Generator) -> Shelf:
        """Put all but the newest products on the shelf and roll their popularity."""
        shown = catalogue.size - catalogue.newest
        places = _place(catalogue.types[:shown], catalogue.brands[:shown], catalogue.values[:shown, 0])
        rows = np.argsort(places, kind="stable").astype(np.int32)
        starts = np.searchsorted(places[rows], np.arange(len(TYPES) * len(BRANDS) * len(WORDS) + 1))
        ranks = _ranks(rng, catalogue.types[:shown])
        return cls(rows, starts, Choice.of(favour(ranks[rows], _BESTSELLERS)))

    def has(self, types: IntArray) -> NDArray[np.bool_]:
        """Whether there is a product of each of these types."""
        return self._first(types) < self._first(types + 1)

    def page(
        self, rng: np.random.Generator, types: IntArray, brands: IntArray, styles: IntArray, count: int
    ) -> NDArray[np.int32]:
        """What the shop shows B shoppers who look for a type, and rather for a brand and a style: [B, C] products.

        Popular ones come up more often, and may come up twice. Every type must be on the shelf.
        """
        level = rng.choice(len(_PAGE), size=(types.size, count), p=_PAGE)
        stretches = [
            (self._first(types), self._first(types + 1)),
            (self._first(types, brands), self._first(types, brands + 1)),
            (self._first(types, brands, styles), self._first(types, brands, styles + 1)),
        ]
        first, last = (np.broadcast_to(ends[:, None], level.shape) for ends in stretches[0])
        for narrower, (start, end) in enumerate(stretches[1:], start=1):
            narrow = (level >= narrower) & (start < end)[:, None]
            first, last = np.where(narrow, start[:, None], first), np.where(narrow, end[:, None], last)
        return self.rows[self.popularity.draw(rng, first, last)]

    def bestsellers(self, rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        """Products of any type, by popularity: [count]."""
        start = np.zeros(count, dtype=np.int64)
        return self.rows[self.popularity.draw(rng, start, start + self.rows.size)]

    def _first(self, types: IntArray, brands: IntArray | int = 0, styles: IntArray | int = 0) -> NDArray[np.int64]:
        return self.starts[_place(types, brands, styles)]


def _place(types: IntArray, brands: IntArray | int, styles: IntArray | int) -> NDArray[np.int64]:
    """One number for each combination, in shelf order."""
    return (np.asarray(types, dtype=np.int64) * len(BRANDS) + brands) * len(WORDS) + styles


def _ranks(rng: np.random.Generator, types: IntArray) -> NDArray[np.int64]:
    """[n] a random order of popularity within each type, from 0."""
    order = np.lexsort([rng.random(types.size), types])
    ranks = np.empty(types.size, dtype=np.int64)
    ranks[order] = np.arange(types.size) - np.searchsorted(types[order], types[order])
    return ranks
