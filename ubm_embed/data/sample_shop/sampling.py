"""Weighted random draws, many at once, from ranges of one long list or from several lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray, offsets_of

_FAVOURITES = 0.4  # exponent of the preference for the first options of a list


@dataclass(frozen=True)
class RangeSampler:
    """Draws positions of a list by weight, within any range of it.

    Attributes:
        ends: [W + 1] float64, cumulative weights from 0 to their sum.
    """

    ends: NDArray[np.float64]

    @classmethod
    def from_weights(cls, weights: NDArray[np.float64]) -> RangeSampler:
        """A sampler by W weights, all above 0."""
        return cls(np.concatenate([[0.0], np.cumsum(weights)]))

    def draw(self, rng: np.random.Generator, first: IntArray, last: IntArray) -> NDArray[np.int64]:
        """One position of each range [first, last), by weight; arrays of any one shape, no range empty."""
        low, high = self.ends[first], self.ends[last]
        drawn = np.searchsorted(self.ends, low + rng.random(low.shape) * (high - low), side="right") - 1
        return np.clip(drawn, first, last - 1)  # rounding may carry a draw over the end of its range


@dataclass(frozen=True)
class ListSampler:
    """Draws an option of a list, out of several lists, by weight.

    Attributes:
        options: [W] the lists end to end.
        offsets: [lists + 1] where each begins.
        sampler: over the W options.
    """

    options: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sampler: RangeSampler

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> ListSampler:
        """A sampler over these lists, which prefers their first options."""
        ranks = np.array([rank for options in lists for rank in range(len(options))])
        options = np.array([option for options in lists for option in options], dtype=np.int64)
        offsets = offsets_of(np.array([len(options) for options in lists]))
        return cls(options, offsets, RangeSampler.from_weights(zipf_weights(ranks, _FAVOURITES)))

    def draw(self, rng: np.random.Generator, which: IntArray) -> NDArray[np.int64]:
        """One option of each list that `which` names."""
        return self.options[self.sampler.draw(rng, self.offsets[which], self.offsets[which + 1])]


def zipf_weights(ranks: IntArray, exponent: float) -> NDArray[np.float64]:
    """Weights by rank, from 0: Zipf's law with this exponent, its top cut off."""
    weights: NDArray[np.float64] = (np.asarray(ranks, dtype=np.float64) + 2.0) ** -exponent
    return weights
