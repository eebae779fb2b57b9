"""Is the space itself healthy: its rank, isotropy, hubs, duplicates and texts."""

from __future__ import annotations

from collections.abc import Iterator

from indexer.diagnostics.geometry.scan import SpaceScan
from indexer.diagnostics.geometry.space_charts import space_charts
from indexer.diagnostics.geometry.space_findings import SECTION, invalid_vectors, space_findings
from indexer.diagnostics.geometry.space_measures import SpaceMeasures
from indexer.diagnostics.report import Section
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space
from ubm_embed.progress import Progress, silent
from ubm_embed.wording import percent

TITLE = "The space"
# Shares from which on it is worth a sentence; what the shop does about them is its own choice.
_WORTH_A_NOTE = 0.1


def space_section(space: Space, settings: DiagnosisSettings, progress: Progress = silent) -> Section:
    """Metrics of a space's vectors and of the texts that they were made of.

    One pass over all vectors, and samples: its memory grows by some dozen bytes a product.
    """
    scan = SpaceScan.read(space, settings.queries, settings.seed, progress)
    broken = tuple(invalid_vectors(scan))
    if scan.moments.count < 2 or not scan.queries.size:
        return Section(name=SECTION, title=TITLE, findings=broken, notes=("fewer than two vectors to compare",))
    measures = SpaceMeasures.measure(space, scan, settings, progress)
    return Section(
        name=SECTION,
        title=TITLE,
        metrics=tuple(measures.metrics()),
        tables=tuple(measures.tables(space)),
        charts=tuple(space_charts(measures, space.name)),
        findings=(*broken, *space_findings(measures)),
        notes=tuple(_notes(measures)),
    )


def _notes(measures: SpaceMeasures) -> Iterator[str]:
    duplicates, cut = measures.duplicates, measures.texts.cut.value
    if measures.occurrences is None:
        yield "too few different vectors for hubness"
    if duplicates.equal_text.value > _WORTH_A_NOTE:
        yield (
            f"{percent(duplicates.equal_text.value)} of the products share all of their text with another, and so its "
            "vector: add what tells them apart, such as size, colour or model, or keep one of each"
        )
    if duplicates.read_alike.value > _WORTH_A_NOTE:
        yield (
            f"{percent(duplicates.read_alike.value)} of the products differ from another only in what the model does "
            "not read: put what tells them apart first"
        )
    if cut > _WORTH_A_NOTE:
        yield f"of {percent(cut)} of the products the model reads only the beginning: put first what matters"
