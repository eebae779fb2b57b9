"""The section about a version's parts: do its texts, its vectors, its index and its model belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.diagnostics.integrity.findings import SECTION, judge
from indexer.diagnostics.integrity.measurements import Measurements, measure
from indexer.diagnostics.integrity.stored_vectors import StoredVectors
from indexer.diagnostics.report import Section, Table
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace, title_of
from indexer.search.canaries import CanaryCheck
from ubm_embed.progress import Progress, silent
from ubm_embed.wording import visible

_MAX_EXAMPLES = 10


def integrity_section(space: VersionSpace, settings: DiagnosisSettings, progress: Progress = silent) -> Section:
    """Canaries computed anew, texts of a sample read again, and the index compared with the table.

    Raises:
        InvalidData: the file of canaries is damaged.
    """
    measured = measure(space, settings, progress)
    return Section(
        name=SECTION,
        title="The version's parts",
        metrics=tuple(measured.metrics()),
        tables=tuple(_tables(space, measured)),
        findings=tuple(judge(space, measured)),
        notes=tuple(_notes(measured)),
    )


def _tables(space: VersionSpace, measured: Measurements) -> Iterator[Table]:
    if measured.canaries is not None:
        yield _canary_table(measured.canaries)
    if measured.texts is not None and (measured.texts.found_at or measured.texts.stale.size):
        yield _wrong_vectors(space, measured.texts)


def _canary_table(check: CanaryCheck) -> Table:
    products = zip(check.products, check.product_cosines.tolist(), strict=True)
    sessions = zip(check.session_cosines.tolist(), check.overlaps.tolist(), strict=True)
    return Table(
        name="canaries",
        caption="Products and sessions that the version was published with, as the model reads them now.",
        columns=("canary", "cosine with then", "matches that are the same"),
        rows=[
            *([visible(title_of(product)), round(cosine, 6), None] for product, cosine in products),
            *([f"session {number}", round(cosine, 6), share] for number, (cosine, share) in enumerate(sessions, 1)),
        ],
    )


def _wrong_vectors(space: VersionSpace, texts: StoredVectors) -> Table:
    rows = [*texts.found_at, *texts.stale.tolist()][:_MAX_EXAMPLES]
    owners = [texts.found_at.get(row) for row in rows]
    cosines = dict(zip(texts.rows.tolist(), texts.cosines.tolist(), strict=True))
    return Table(
        name="wrong_vectors",
        caption="Products whose stored vector is not that of their text, and which product has it instead.",
        columns=("product", "title", "cosine with its text", "its vector is at"),
        rows=[
            [space.product_ids[row], _title(space, row), round(cosines[row], 4), _id(space, owner)]
            for row, owner in zip(rows, owners, strict=True)
        ],
    )


def _id(space: VersionSpace, row: int | None) -> str | None:
    return None if row is None else str(space.product_ids[row])


def _title(space: VersionSpace, row: int) -> str:
    return visible(title_of(space.products(np.array([row]))[0]))


def _notes(measured: Measurements) -> Iterator[str]:
    if measured.canaries is None:
        yield (
            "the version has no canaries: older software published it, its model was not read then, or reads none of "
            "its texts"
        )
    else:
        yield from (f"since the version was published, {change}" for change in measured.canaries.environment_changes)
    if measured.texts is None:
        yield "texts were not compared with stored vectors: the model does not make the vectors that it made"
