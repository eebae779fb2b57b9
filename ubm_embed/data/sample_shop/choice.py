"""Weighted draws, many at once, out of stretches of one long list: how the sample shop rolls its dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray, offsets_of

_FAVOURITES = 0.4  # how far the options that stand first are preferred


@dataclass(frozen=True)
class Choice:
    """Weights laid end to end, of which any stretch can be drawn from.

    Attributes:
        ends: [W + 1] float64, from 0 to the sum of the weights.
    """

    ends: NDArray[np.float64]

    @classmethod
    def of(cls, weights: NDArray[np.float64]) -> Choice:
        """Of these W weights, all above 0."""
        return cls(np.concatenate([[0.0], np.cumsum(weights)]))

    def draw(self, rng: np.random.Generator, first: IntArray, last: IntArray) -> NDArray[np.int64]:
        """One place out of each stretch [first, last), by weight; stretches of any shape, none of them empty."""
        low, high = self.ends[first], self.ends[last]
        drawn = np.searchsorted(self.ends, low + rng.random(low.shape) * (high - low), side="right") - 1
        return np.clip(drawn, first, last - 1)  # rounding may carry a draw over the end of its stretch


@dataclass(frozen=True)
class Menus:
    """Several lists of options, each option with a weight: draws say which list, and get one of its options.

    Attributes:
        options: [W] the lists end to end.
        offsets: [lists + 1] where each begins.
        choice: over the W options.
    """

    options: NDArray[np.int64]
    offsets: NDArray[np.int64]
    choice: Choice

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Menus:
        """Of these lists, in which the options that stand first are the favourites."""
        ranks = np.array([rank for options in lists for rank in range(len(options))])
        options = np.array([option for options in lists for option in options], dtype=np.int64)
        return cls(
            options, offsets_of(np.array([len(options) for options in lists])), Choice.of(favour(ranks, _FAVOURITES))
        )

    def draw(self, rng: np.random.Generator, which: IntArray) -> NDArray[np.int64]:
        """One option of each list in `which`."""
        return self.options[self.choice.draw(rng, self.offsets[which], self.offsets[which + 1])]


def favour(ranks: IntArray, law: float) -> NDArray[np.float64]:
    """Weights of those at these places of a ranking, from 0: a law of Zipf with this exponent, its top cut off."""
    weights: NDArray[np.float64] = (np.asarray(ranks, dtype=np.float64) + 2.0) ** -law
    return weights
