"""How often the next product is among a session's answers, by how often it was seen before (paper 4.5, figure 5).

Letters: B sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric
from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.proportions import wilson_interval
from ubm_embed.evaluation.ranking import hit_at_k, ndcg_at_k
from ubm_embed.evaluation.significance import paired_p_values
from ubm_embed.evaluation.sparsity import by_frequency
from ubm_embed.wording import percent

_K = 10
_LEVEL = 0.05
MODEL, POPULARITY = "this model", "popularity"


@dataclass(frozen=True)
class TargetRanks:
    """The ranks of the targets, 1 for the best, beyond any cutoff where they are not among the answers.

    Attributes:
        ranks: among the answers, [B].
        popular_ranks: among the most popular products that the session does not hold, [B].
        counts: how often other sessions chose the target, [B].
        unseen: whether training has read none of the sessions.
    """

    ranks: IntArray
    popular_ranks: IntArray
    counts: IntArray
    unseen: bool


def accuracy_metrics(targets: TargetRanks, rounds: int, seed: int) -> Iterator[Metric]:
    """hit@10 and NDCG@10, and hit@10 of the dumbest baseline."""

    def measure(drawn: IntArray) -> dict[str, float]:
        ranks, popular = targets.ranks[drawn], targets.popular_ranks[drawn]
        return {
            "hit_at_10": hit_at_k(ranks, _K),
            "ndcg_at_10": ndcg_at_k(ranks, _K),
            "popularity_hit_at_10": hit_at_k(popular, _K),
        }

    size = targets.ranks.size
    flattered = "" if targets.unseen else "; flattered where training has read these sessions"
    meanings: dict[str, tuple[Better | None, str]] = {
        "hit_at_10": (Better.HIGHER, f"share of sessions whose next product is among the ten answers{flattered}"),
        "ndcg_at_10": (
            Better.HIGHER,
            f"as hit@10, but a lower rank counts for less: 1 / log2(1 + rank){flattered}",
        ),
        "popularity_hit_at_10": (
            None,
            "hit@10 of the ten most popular products for every session: a model must beat it",
        ),
    }
    for metric in bootstrapped_metrics(measure, size, meanings, f"{size:,} sessions", rounds=rounds, seed=seed):
        if metric.name == "ndcg_at_10":
            yield metric
        else:  # a share, and a popular product is seldom the next one
            yield replace(metric, interval=wilson_interval(round(metric.value * size), size))


def accuracy_findings(targets: TargetRanks, rounds: int, seed: int) -> Iterator[Finding]:
    """Whether the most popular products would surely be the better answer."""

    def measure(ranks: IntArray) -> dict[str, float]:
        return {"hits": hit_at_k(ranks, _K)}

    hits, popular = hit_at_k(targets.ranks, _K), hit_at_k(targets.popular_ranks, _K)
    # Paired, as both hit or miss the same sessions; and right of a handful of sessions, where a bootstrap is too sure.
    p_value = paired_p_values(measure, targets.ranks, targets.popular_ranks, rounds=rounds, seed=seed)["hits"]
    if hits < popular and p_value < _LEVEL:
        problem = (
            f"the next product is among the ten answers in {percent(hits)} of the sessions, and among the ten most "
            f"popular products in {percent(popular)}"
        )
        remedy = (
            "fine-tune the model for the next item: `ubm-embed finetune nip --model DIR --corpus DIR --out DIR`; if it "
            "was, `ubm-embed evaluate nip` compares it with simple baselines"
        )
        yield Finding(Fault.BELOW_POPULARITY, Severity.WARNING, "answers", problem, remedy)


def frequency_chart(targets: TargetRanks) -> Chart:
    """hit@10 by how often the target was chosen: figure 5."""
    rows = [*_bars(MODEL, targets.ranks, targets.counts), *_bars(POPULARITY, targets.popular_ranks, targets.counts)]
    return Chart(
        name="hit_by_frequency",
        kind=ChartKind.BARS,
        title="hit@10 by how often other sessions chose the next product",
        x="times chosen elsewhere, and sessions",
        y="hit@10",
        rows=rows,
        good="the model stays above popularity, and its bars do not fall to 0 on the left: rare products are found by "
        "their texts",
        remedy="where rare products are not found, give them richer texts, or pre-train longer",
    )


def _bars(name: str, ranks: IntArray, counts: IntArray) -> Sequence[Mapping[str, Any]]:
    rows = []
    for band in by_frequency(ranks, counts):
        value = band.metrics[f"hit@{_K}"]
        low, high = wilson_interval(round(value * band.examples), band.examples)
        row = {"name": name, "group": band.label, "value": value, "low": low, "high": high, "count": band.examples}
        rows.append(row)
    return rows
