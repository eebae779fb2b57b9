"""Whether a classifier can tell the vectors of two versions apart."""

from __future__ import annotations

from indexer.diagnostics.changes.common_products import CommonProducts
from indexer.diagnostics.report import Better, Metric
from indexer.diagnostics.settings import DiagnosisSettings

# Each coordinate has a weight to be fitted: fewer pairs tell nothing. More than these change the figure by little.
_MIN_PAIRS, _MAX_PAIRS = 50, 2000


def separability_metrics(common: CommonProducts, settings: DiagnosisSettings) -> list[Metric]:
    """`separability_auc`, if there are products enough, whose vectors one model made."""
    if len(common) < _MIN_PAIRS:
        return []
    # Here, since scikit-learn takes a second to import.
    from ubm_embed.evaluation.separability import paired_separability

    pairs = common.take(common.draw(min(settings.sample, _MAX_PAIRS), settings.seed))
    return [
        Metric(
            name="separability_auc",
            value=paired_separability(*pairs.vectors(), seed=settings.seed),
            measured_on=f"{len(pairs):,} products of both versions",
            better=Better.LOWER,
            meaning="area under the ROC curve of a classifier that tells new vectors from old ones: 0.5 if it cannot, "
            "near 1 if all of them moved alike",
        )
    ]
