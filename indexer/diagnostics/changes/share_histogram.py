"""A histogram of shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def histogram(shares: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Values from 0 to 1 in ten bins, as rows of a chart."""
    counts, edges = np.histogram(shares, bins=10, range=(0, 1))
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    return [{"low": float(low), "high": float(high), "count": int(count)} for low, high, count in bins]
