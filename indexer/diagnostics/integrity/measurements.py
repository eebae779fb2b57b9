"""What is measured of a version's parts, and its figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.integrity.index_vectors import IndexVectors, compare_index
from indexer.diagnostics.integrity.stored_vectors import StoredVectors, compare_texts, min_cosine
from indexer.diagnostics.report import Better, Metric
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace, sample_rows
from indexer.search.canaries import CanaryCheck, check_canaries
from ubm_embed.progress import Progress

_STEPS = ("canaries", "index", "texts")


@dataclass(frozen=True)
class Measurements:
    """Of one version.

    Attributes:
        products: of the version, by its manifest.
        rows: of its table.
        canaries: None if older software published it.
        index: against the table.
        texts: against the stored vectors; None if the model no longer makes the vectors that it made.
    """

    products: int
    rows: int
    canaries: CanaryCheck | None
    index: IndexVectors
    texts: StoredVectors | None

    def metrics(self) -> Iterator[Metric]:
        """The figures."""
        if self.canaries is not None:
            yield from _canary_metrics(self.canaries)
        if self.texts is not None:
            read, stale, swapped = self.texts.rows.size, self.texts.stale.size, len(self.texts.found_at)
            yield self._share(
                "share_stale",
                stale,
                read,
                "products whose stored vector is of another text, such as an earlier one: 0 is right",
            )
            yield self._share(
                "share_swapped", swapped, read, "products whose own vector is stored with another product: 0 is right"
            )
        foreign = int(self.index.is_foreign.sum())
        meaning = "products of which the index holds another vector than the table: 0 is right"
        yield self._share("share_foreign", foreign, self.index.is_foreign.size, meaning)
        found = int(self.index.is_found.sum())
        meaning = "products that the index finds by their own vectors: near its recall, and 1 if it skips nothing"
        yield self._share("self_recall", found, self.index.is_found.size, meaning, Better.HIGHER)

    def _share(self, name: str, count: int, total: int, meaning: str, better: Better = Better.LOWER) -> Metric:
        measured_on = f"{total:,} of {self.products:,} products"
        return Estimate.share(count, total, self.products, measured_on).metric(name, f"share of {meaning}", better)


def measure(space: VersionSpace, settings: DiagnosisSettings, progress: Progress) -> Measurements:
    """Measure a version."""
    version, rows = space.opened.version, sample_rows(space, settings.texts, settings.seed)
    progress("parts of the version", 0, len(_STEPS), _STEPS[0])
    canaries = check_canaries(space.opened)
    progress("parts of the version", 1, len(_STEPS), _STEPS[1])
    index = compare_index(space, rows)
    progress("parts of the version", 2, len(_STEPS), _STEPS[2])
    same_model = canaries is None or canaries.cosine >= min_cosine(version)
    texts = compare_texts(space, rows) if same_model else None
    progress("parts of the version", 3, len(_STEPS))
    return Measurements(version.products, space.store.table.count(version.table_version), canaries, index, texts)


def _canary_metrics(check: CanaryCheck) -> Iterator[Metric]:
    count = check.product_cosines.size + check.session_cosines.size
    yield Metric(
        name="canary_cosine",
        value=check.cosine,
        measured_on=f"{count} canaries",
        better=Better.HIGHER,
        meaning="least cosine of the vectors of the canaries now and when the version was published: 1 up to rounding",
    )
    yield Metric(
        name="canary_overlap",
        value=check.overlap,
        measured_on=f"{check.overlaps.size} sessions",
        better=Better.HIGHER,
        meaning="share of the canaries' matches that are still found: 1 up to rounding",
    )
