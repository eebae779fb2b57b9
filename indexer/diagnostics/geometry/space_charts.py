"""Pictures of a space: its spectrum, its 10-occurrence, and the cosines of random pairs.

Letters: N sampled vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.geometry.space_measures import SpaceMeasures
from indexer.diagnostics.report import Chart, ChartKind
from ubm_embed.data.arrays import FloatArray

_MAX_BINS = 50
_PAIRS = 40_000


def space_charts(measures: SpaceMeasures, name: str) -> Iterator[Chart]:
    """Those that can be drawn."""
    if measures.variances[0] > 0:
        yield _spectrum(measures.variances, name)
    if measures.occurrences is not None:
        yield _occurrences(measures.occurrences.counts)
    if len(measures.sample.vectors) > 1:
        yield _cosines(measures.sample.vectors, measures.settings.seed)


# Vectors after a layer norm have no variance in one direction: what rounding leaves there would stretch the axis.
_ROUNDING = 1e-9


def _spectrum(variances: NDArray[np.float64], name: str) -> Chart:
    shares = (variances / variances.sum()).tolist()
    return Chart(
        name="spectrum",
        kind=ChartKind.SPECTRUM,
        title="Share of the variance by principal component",
        rows=[
            {"name": name, "rank": rank, "share": share} for rank, share in enumerate(shares, 1) if share > _ROUNDING
        ],
        good="a slow, even fall: many directions carry something, and the first ones a tenth each at most",
        remedy="a cliff after a few components: pre-train with more negatives (`--item-batch`, `--session-batch`), or "
        "from a pre-trained text encoder (`--init`)",
        x="principal component",
        y="share of the variance",
    )


def _occurrences(counts: NDArray[np.int64]) -> Chart:
    width = -(-(int(counts.max()) + 1) // _MAX_BINS)
    edges = np.arange(0, int(counts.max()) + width + 1, width)
    return Chart(
        name="hubness",
        kind=ChartKind.HISTOGRAM,
        title="How often a product is among the ten nearest of others",
        rows=_bins(counts, edges),
        good="a hump around 10 with a short tail: every product is near to some others",
        remedy="a tall bar at 0 and a long tail: look at the texts of the hubs in the table; fine-tune the model for "
        "the next item, which spreads products by what shoppers do",
        x="times among the ten nearest (10-occurrence)",
        y="products",
        logarithmic=True,
    )


def _cosines(vectors: FloatArray, seed: int) -> Chart:
    size = len(vectors)
    rng = np.random.default_rng([seed, 11])
    first = rng.integers(size, size=_PAIRS)
    second = (first + rng.integers(1, size, size=_PAIRS)) % size  # never the same
    cosines = np.vecdot(vectors[first], vectors[second])
    return Chart(
        name="cosines",
        kind=ChartKind.HISTOGRAM,
        title="Cosines of random pairs of products",
        rows=_bins(np.clip(cosines, -1, 1), np.linspace(-1, 1, _MAX_BINS + 1)),
        good="a broad hump well below 1: most products are told apart",
        remedy="all pairs near 1: the model is untrained or collapsed; train it longer, or at a lower learning rate",
        x="cosine",
        y="pairs",
    )


def _bins(values: NDArray[Any], edges: NDArray[Any]) -> list[dict[str, float]]:
    counts = np.histogram(values, edges)[0].tolist()
    bins = zip(edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True)
    return [{"low": low, "high": high, "count": count} for low, high, count in bins]
