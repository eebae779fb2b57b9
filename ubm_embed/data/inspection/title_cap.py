"""A length at which a system cut titles: more of them have exactly this length than chance would have it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ubm_embed.data.arrays import IntArray

_MIN_LENGTH = 20  # characters: shorter caps would cut every title
_NEIGHBOURS = 5


@dataclass(frozen=True)
class TitleCap:
    """Where titles end.

    Attributes:
        length: in characters.
        titles: how many have exactly this length.
        longer: how many are longer all the same.
    """

    length: int
    titles: int
    longer: int

    @classmethod
    def find(cls, lengths: IntArray) -> TitleCap | None:
        """The length that stands out most, None if none does.

        It has 1% of the titles and at least 20, four times as many as the five lengths below it have on average, and
        four times as many titles as are longer.
        """
        counts = np.bincount(lengths, minlength=_MIN_LENGTH + 1)
        longer = counts[::-1].cumsum()[::-1] - counts
        below = np.convolve(counts, np.ones(_NEIGHBOURS))[: counts.size]  # each length and the four before it
        below = np.concatenate([[0.0], below[:-1]]) / _NEIGHBOURS
        stands_out = (counts >= max(20, lengths.size / 100)) & (counts >= 4 * below) & (counts >= 4 * longer)
        stands_out[:_MIN_LENGTH] = False
        if not stands_out.any():
            return None
        length = int(np.argmax(np.where(stands_out, counts, 0)))
        return cls(length, int(counts[length]), int(longer[length]))
