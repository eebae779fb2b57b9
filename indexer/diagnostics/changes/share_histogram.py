"""A histogram of shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def histogram(shares: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Values from 0 to 1 in ten bins, as rows of a chart."""
    # A share such as 3 / 10 belongs to the bin that begins with it, however both were rounded.
    tenths = (shares * 10 + 1e-6).astype(np.int64).clip(0, 9)
    counts, edges = np.bincount(tenths, minlength=10), np.linspace(0, 1, 11)
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    return [{"low": float(low), "high": float(high), "count": int(count)} for low, high, count in bins]
