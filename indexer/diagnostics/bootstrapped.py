"""Figures of a sample with bootstrap intervals, as metrics of a report.

Letters: E examples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from indexer.diagnostics.report import Better, Metric
from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.intervals import bootstrap_intervals
from ubm_embed.evaluation.proportions import with_width


def bootstrapped_metrics(
    measure: Callable[[IntArray], Mapping[str, float]],
    size: int,
    meanings: Mapping[str, tuple[Better | None, str]],
    measured_on: str,
    *,
    rounds: int,
    seed: int,
    shares: Collection[str] = (),
    distances: Collection[str] = (),
) -> Iterator[Metric]:
    """What `measure` gives of all examples, each with its 95% interval.

    Args:
        measure: the figures of the examples at these indices, by name: [E].
        size: E.
        meanings: which way a figure improves, and what it means, by name.
        shares: means of shares; see `with_width`.
        distances: as of `bootstrap_intervals`.
    """
    intervals = bootstrap_intervals(measure, size, rounds=rounds, seed=seed, distances=distances)
    for name, value in measure(np.arange(size)).items():
        better, meaning = meanings[name]
        yield Metric(
            name=name,
            value=value,
            interval=with_width(intervals[name], value, size) if name in shares else intervals[name],
            measured_on=measured_on,
            better=better,
            meaning=meaning,
        )
