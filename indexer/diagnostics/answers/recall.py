"""What an index misses of the exact search: by how popular the missed products are, and for sessions.

Letters: B sessions, Q products that are searched for, K nearest, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.answers.popularity_groups import PopularityGroups
from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric
from indexer.index.backend import NOISE, Neighbours
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.evaluation.intervals import bootstrap_intervals

# A version is published at a recall of 0.99, measured on products and on midpoints, which are harder than sessions: one
# neighbour in ten missed is far from what was promised, and every second one makes answers wrong.
MIN_RECALL, _WRONG = 0.9, 0.5
# A store that was asked for less was promised that, on another sample.
OF_REQUESTED = 0.95
# A group of fewer neighbours gets a figure, but no verdict.
_MIN_PAIRS = 50
_REBUILD = (
    "check the index: `ubm-embed doctor --repair --store DIR`; if it is sound, build another: `ubm-embed refresh "
    "--model DIR --products FILE --store DIR --recall 0.99`"
)


def found_neighbours(exact: Neighbours, positions: IntArray, scores: FloatArray) -> BoolArray:
    """Which of the exact nearest a search found: [Q, K].

    As in `recall_at_k`, of several products that score as high as the exact K-th any will do: each such product that is
    found beyond the exact ones stands for a missed one, the last first.

    Args:
        positions, scores: what the search found, and exact scores of it, [Q, K].
    """
    found: BoolArray = (exact.positions[:, :, None] == positions[:, None, :]).any(axis=2)
    as_good = (scores >= exact.scores[:, -1:] - NOISE) & (positions >= 0)
    spare = as_good & ~(positions[:, :, None] == exact.positions[:, None, :]).any(axis=2)
    missed = ~found
    nth_missed = np.cumsum(missed[:, ::-1], axis=1)[:, ::-1]
    found |= missed & (nth_missed <= spare.sum(axis=1)[:, None])
    return found


@dataclass(frozen=True)
class RecallSample:
    """What was found for products and for sessions.

    Attributes:
        groups: of all products, by popularity.
        rows: products that were searched for, [Q].
        nearest, found: their exact nearest, themselves among them, and which of these were found, [Q, K + 1].
        session_nearest, session_found: the exact nearest of sessions, and which of these were found, [B, K].
    """

    groups: PopularityGroups
    rows: IntArray
    nearest: IntArray
    found: BoolArray
    session_nearest: IntArray
    session_found: BoolArray

    def by_group(self, rounds: int, seed: int) -> list[GroupRecall]:
        """How often the products of each group are found where they are among the nearest of a product or a session.

        A product counts among its own nearest here: that is where a group shows which the index lost.
        """
        hits, totals = self._by_query()
        overall = hits.sum(axis=0) / np.maximum(totals.sum(axis=0), 1)

        def measure(drawn: IntArray) -> dict[str, float]:
            of_drawn = totals[drawn].sum(axis=0)
            shares = np.where(of_drawn > 0, hits[drawn].sum(axis=0) / np.maximum(of_drawn, 1), overall)
            return dict(zip(self.groups.labels, shares.tolist(), strict=True))

        intervals = bootstrap_intervals(measure, len(hits), rounds=rounds, seed=seed)
        pairs = totals.sum(axis=0).tolist()
        return [
            GroupRecall(label, float(overall[group]), intervals[label], pairs[group])
            for group, label in enumerate(self.groups.labels)
            if pairs[group]
        ]

    def _by_query(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[Q + B, G] how many of each query's nearest are of each group and were found, and how many there are."""
        size, hits, totals = len(self.groups.labels), [], []
        for nearest, found in ((self.nearest, self.found), (self.session_nearest, self.session_found)):
            cells = np.arange(len(nearest))[:, None] * size + self.groups.codes[nearest]
            hits.append(np.bincount(cells[found], minlength=len(nearest) * size).reshape(-1, size))
            totals.append(np.bincount(cells.ravel(), minlength=len(nearest) * size).reshape(-1, size))
        return np.concatenate(hits), np.concatenate(totals)


@dataclass(frozen=True)
class GroupRecall:
    """The recall of a group's products, over pairs of a query and one of its nearest."""

    label: str
    value: float
    interval: tuple[float, float]
    pairs: int


def recall_metrics(sample: RecallSample, rounds: int, seed: int) -> list[Metric]:
    """The share of their nearest that products find, without themselves, and that sessions find."""
    others = sample.nearest != sample.rows[:, None]
    wanted = max(sample.nearest.shape[1] - 1, 1)
    of_products = np.minimum((sample.found & others).sum(axis=1), wanted) / wanted
    of_sessions = sample.session_found.mean(axis=1)
    parts = (
        ("recall", "products", of_products, sample.groups.weights(sample.rows)),
        ("session_recall", "sessions", of_sessions, np.ones(of_sessions.size)),
    )
    return [_recall_metric(*part, rounds=rounds, seed=seed) for part in parts]


def _recall_metric(
    name: str, subjects: str, shares: NDArray[np.float64], weights: NDArray[np.float64], *, rounds: int, seed: int
) -> Metric:
    def mean(drawn: IntArray) -> dict[str, float]:
        return {name: float(np.average(shares[drawn], weights=weights[drawn]))}

    meaning = f"share of the exact ten nearest of {subjects} that the index finds; a version is published at 0.99"
    (metric,) = bootstrapped_metrics(
        mean,
        shares.size,
        {name: (Better.HIGHER, meaning)},
        f"{shares.size:,} {subjects}",
        rounds=rounds,
        seed=seed,
        shares=(name,),
    )
    return metric


def recall_chart(groups: list[GroupRecall], limit: float) -> Chart:
    """Recall by popularity."""
    return Chart(
        name="recall_by_popularity",
        kind=ChartKind.BARS,
        title="What the index finds, by how often a product is chosen",
        x="popularity: neighbours tested",
        y="share found",
        rows=[
            {
                "name": "index",
                "group": group.label,
                "value": group.value,
                "low": group.interval[0],
                "high": group.interval[1],
                "count": group.pairs,
            }
            for group in groups
        ],
        good="all bars near 1: a product is found no matter how popular it is",
        remedy=_REBUILD,
        reference=limit,
    )


def recall_findings(metrics: list[Metric], groups: list[GroupRecall], limit: float) -> Iterator[Finding]:
    """What lies below the limit with its whole interval."""
    subjects = {"recall": "products", "session_recall": "sessions"}
    low = [
        (f"the index finds {metric.value:.2f} of the exact ten nearest of {subjects[metric.name]}", metric.value)
        for metric in metrics
        if metric.interval is not None and metric.interval[1] < limit
    ]
    # Where all are missed alike, a list of the groups would tell nothing more.
    low = low or [
        (f"the index finds {group.value:.2f} of the products in the group {group.label!r}", group.value)
        for group in groups
        if group.interval[1] < limit and group.pairs >= _MIN_PAIRS
    ]
    if low:
        worst = min(value for _, value in low)
        yield Finding(
            Fault.LOW_RECALL,
            Severity.ERROR if worst < _WRONG else Severity.WARNING,
            "answers",
            "; ".join(problem for problem, _ in low) + f", less than {limit:.2f}",
            _REBUILD,
        )
