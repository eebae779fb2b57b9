"""Is the space itself healthy: its rank, isotropy, hubs, duplicates and texts."""

from __future__ import annotations

from indexer.diagnostics.report import Section
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space
from ubm_embed.progress import Progress, silent

SECTION = "space"


def space_section(space: Space, settings: DiagnosisSettings, progress: Progress = silent) -> Section:
    """Metrics of a space's vectors and of the texts that they were made of."""
    return Section(name=SECTION, title="The space")
