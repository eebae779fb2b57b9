"""What a sample shopper wants, how well a product fits it, and how it is typed into the search box.

Letters: N shoppers, C products on each one's page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.sample_shop.catalogue import WORDS, SampleCatalogue
from ubm_embed.data.sample_shop.product_types import TYPES
from ubm_embed.data.sample_shop.vocabulary import BRANDS

# What raises or lowers the liking of a product, in units of luck (a standard Gumbel variable).
BRAND, STYLE, DETAIL = 1.8, 1.6, 0.5
PRICE, ABOVE_BUDGET = 1.8, 1.2  # of |log(price / budget)|, and more of it above the budget

# Probabilities of what is typed.
NAME_RATE = 0.55  # else a synonym
PLAIN_RATE, STYLE_RATE, BRAND_RATE = 0.45, 0.25, 0.2  # else the detail


@dataclass(frozen=True)
class Intent:
    """What N shoppers want: [N] each; `types`, `brands`, `styles` and `details` as in `SampleCatalogue`."""

    types: IntArray
    brands: IntArray
    styles: IntArray
    details: IntArray
    budgets: NDArray[np.float64]

    def take(self, who: IntArray) -> Intent:
        """The intents of some of the shoppers."""
        return Intent(self.types[who], self.brands[who], self.styles[who], self.details[who], self.budgets[who])


def liking(catalogue: SampleCatalogue, products: IntArray, intent: Intent) -> NDArray[np.float64]:
    """How much N shoppers like products [N, C] of the type they want, without luck: [N, C]."""
    values = catalogue.values[products]
    distance = np.log(catalogue.prices[products] / intent.budgets[:, None])
    liked: NDArray[np.float64] = (
        BRAND * (catalogue.brands[products] == intent.brands[:, None])
        + STYLE * (values[..., 0] == intent.styles[:, None])
        + DETAIL * (values[..., 1] == intent.details[:, None])
        - PRICE * np.abs(distance)
        - ABOVE_BUDGET * np.maximum(distance, 0.0)
    )
    return liked


def phrases(rng: np.random.Generator, intent: Intent) -> list[str]:
    """What N shoppers type."""
    names, more = rng.random(intent.types.size), rng.random(intent.types.size)
    return [
        _phrase(*wish)
        for wish in zip(
            *(column.tolist() for column in (intent.types, intent.brands, intent.styles, intent.details, names, more)),
            strict=True,
        )
    ]


def _phrase(number: int, brand: int, style: int, detail: int, name: float, more: float) -> str:
    """A search phrase; `name` and `more` in [0, 1) choose the word for the type and what is typed beside it."""
    kind = TYPES[number]
    words = (
        kind.name if name < NAME_RATE else kind.synonyms[int((name - NAME_RATE) / (1 - NAME_RATE) * len(kind.synonyms))]
    )
    if more < PLAIN_RATE:
        return words
    if more < PLAIN_RATE + STYLE_RATE:
        return f"{WORDS[style]} {words}"
    if more < PLAIN_RATE + STYLE_RATE + BRAND_RATE:
        return f"{BRANDS[brand].name.lower()} {words}"
    return f"{words} {WORDS[detail]}"
