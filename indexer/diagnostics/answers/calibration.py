"""Whether the predictions of fine-tuned heads can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.diagnostics.report import Section
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.data.corpus import Corpus
from ubm_embed.model.folder import ModelFolder
from ubm_embed.progress import Progress, silent


def calibration_section(
    models: Sequence[ModelFolder],
    corpus: Corpus,
    settings: DiagnosisSettings,
    progress: Progress = silent,
    *,
    device: str = "auto",
) -> Section:
    """Section "calibration", of models with a head for purchase intention or remaining length."""
    return Section(name="calibration", title="Calibration of predictions")
