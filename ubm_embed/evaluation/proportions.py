"""How sure a share is that was measured on a sample."""

from __future__ import annotations

import math
from statistics import NormalDist

# Of means of equal shares.
_ROUNDING = 1e-9


def wilson_interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Where the share of all lies if `count` of `total` drawn at random have something (Wilson 1927).

    Unlike the normal interval it has a width where none or all of the sample have it.

    Raises:
        ValueError: the total is below 1, or the count is not between 0 and the total.
    """
    if not 0 <= count <= total or total < 1:
        raise ValueError(f"count must be from 0 to the total and the total at least 1, got {count} of {total}")
    z, share = NormalDist().inv_cdf((1 + level) / 2), count / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # Exact at the ends, where the difference of two equal numbers would be rounding.
    return (centre - half if count else 0.0), (centre + half if count < total else 1.0)


def with_width(interval: tuple[float, float], share: float, size: int) -> tuple[float, float]:
    """A bootstrap's interval of the mean of `size` shares; Wilson's where it has no width, since all of them are equal.

    A mean of shares is known at least as well as the share of those that have something.
    """
    low, high = interval
    return wilson_interval(round(share * size), size) if high - low < _ROUNDING else interval
