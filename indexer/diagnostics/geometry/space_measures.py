"""Everything that is measured of a space, and as metrics and tables.

Letters: M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.geometry.duplicates import Duplicates
from indexer.diagnostics.geometry.hubs import QueryOccurrences, SampledOccurrences
from indexer.diagnostics.geometry.near_duplicates import NearDuplicates
from indexer.diagnostics.geometry.scan import SpaceScan, UnitVectors
from indexer.diagnostics.geometry.text_health import TextHealth
from indexer.diagnostics.report import Better, Metric, Table
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space
from ubm_embed.evaluation.spectrum import eigenvalues, iso_score, rank_me, singular_values
from ubm_embed.progress import Progress


@dataclass(frozen=True)
class SpaceMeasures:
    """Figures of a space of at least two valid vectors. Use `measure`.

    Attributes:
        variances: along the principal components, the largest first, [D].
        sample: some vectors.
        occurrences: the sample's 10-occurrence; None of a small space.
        hubs: None if all vectors are equal.
    """

    scan: SpaceScan
    variances: NDArray[np.float64]
    rank_me: float
    sample: UnitVectors
    duplicates: Duplicates
    near_duplicates: NearDuplicates
    occurrences: SampledOccurrences | None
    hubs: QueryOccurrences | None
    texts: TextHealth
    settings: DiagnosisSettings

    @classmethod
    def measure(cls, space: Space, scan: SpaceScan, settings: DiagnosisSettings, progress: Progress) -> SpaceMeasures:
        """Look at what one pass collected, at a sample of the vectors, and at texts."""
        steps = ("texts", "duplicates", "hubs")
        progress("examining the space", 0, len(steps), steps[0])
        texts = TextHealth.measure(space, settings)
        progress("examining the space", 1, len(steps), steps[1])
        codes = space.text_codes()
        duplicates = Duplicates.find(space, scan.hashes, codes, settings.seed)
        progress("examining the space", 2, len(steps), steps[2])
        sample = UnitVectors.draw(space, settings.sample, settings.seed)
        occurrences = SampledOccurrences.measure(sample, len(space))
        progress("examining the space", len(steps), len(steps))
        return cls(
            scan=scan,
            variances=eigenvalues(scan.moments.covariance),
            rank_me=rank_me(singular_values(scan.moments.products)),
            sample=sample,
            duplicates=duplicates,
            near_duplicates=NearDuplicates.find(scan, codes),
            occurrences=occurrences,
            hubs=QueryOccurrences.count(scan),
            texts=texts,
            settings=settings,
        )

    @property
    def max_rank(self) -> int:
        """The largest possible RankMe: min(M, D)."""
        return min(self.scan.moments.count, self.variances.size)

    def metrics(self) -> Iterator[Metric]:
        """In the order of the report."""
        yield from self._metrics_of_the_spectrum()
        yield from self._metrics_of_hubs()
        yield from self._metrics_of_duplicates()
        yield from self._metrics_of_texts()

    def tables(self, space: Space) -> Iterator[Table]:
        """Those with rows."""
        tables = [self.duplicates.examples, self.near_duplicates.table(space), self.texts.unreadable]
        if self.occurrences is not None:
            tables.insert(0, self.occurrences.antihub_table(space))
        if self.hubs is not None and self.occurrences is not None:
            tables.insert(0, self.hubs.table(space))
        return (table for table in tables if table.rows)

    def _metrics_of_the_spectrum(self) -> Iterator[Metric]:
        all_of_them = f"{self.scan.moments.count:,} products"
        yield Estimate(self.rank_me, None, all_of_them).metric(
            "rank_me",
            f"effective rank: how many of {self.max_rank} directions the vectors fill, with that of their mean; a "
            "quarter or more in a trained model",
            Better.HIGHER,
        )
        yield Estimate(iso_score(self.variances), None, all_of_them).metric(
            "iso_score",
            "how evenly the variance fills all directions, from 0 (a line) to 1; trained models have 0.07 to 0.25",
            Better.HIGHER,
        )
        yield Estimate(self.scan.moments.mean_cosine, None, all_of_them).metric(
            "mean_cosine",
            "cosine of two random products: near 1, all are alike; below 0.9 in a trained model",
            Better.LOWER,
        )
        norms = self.texts.norms
        where = f"{norms.size:,} products, read again"
        if np.isfinite(norms).all() and norms.mean() > 0:
            yield Estimate(float(norms.mean()), None, where).metric(
                "norm_mean",
                "length of a product's vector before normalising, which would make noise of a length near 0",
            )
            yield Estimate(float(norms.std() / norms.mean()), None, where).metric(
                "norm_variation", "standard deviation of that length over its mean: normalising discards it"
            )

    def _metrics_of_hubs(self) -> Iterator[Metric]:
        if self.occurrences is None or self.hubs is None:
            return
        yield self.occurrences.skewness.metric(
            "hubness_skewness",
            "skewness of how often a product is among the ten nearest of others: 0 to 3 is usual; above it, a few hubs "
            "crowd out the rest",
            Better.LOWER,
        )
        yield self.occurrences.antihubs.metric(
            "share_antihubs", "products that are among the ten nearest of no other", Better.LOWER
        )
        yield self.hubs.largest.metric(
            "largest_hub", "share of the products that have the largest hub among their ten nearest", Better.LOWER
        )

    def _metrics_of_duplicates(self) -> Iterator[Metric]:
        yield self.duplicates.wrong.metric(
            "share_duplicate_vectors",
            "products that have the vector of another although the model reads different texts; 0 in a healthy store",
            Better.LOWER,
        )
        yield self.duplicates.read_alike.metric(
            "share_read_alike",
            "products that differ from another only where the model does not read, so that both have one vector",
            Better.LOWER,
        )
        yield self.near_duplicates.share.metric(
            "share_near_duplicates", "products with another of a different text at a cosine of 0.999 or more"
        )
        yield self.duplicates.equal_text.metric(
            "share_equal_text", "products that share all of their text with another, and so its vector"
        )

    def _metrics_of_texts(self) -> Iterator[Metric]:
        yield self.texts.without_text.metric(
            "share_without_text", "products without words, or with most of them unknown to the model", Better.LOWER
        )
        yield self.texts.cut.metric(
            "share_cut",
            "products of which the model reads only the beginning: a title over 32 tokens, or a text over 64",
        )
