"""The answers of sampled sessions: how good, how varied, how popular, and what the index misses."""

from __future__ import annotations

from indexer.diagnostics.report import Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space
from indexer.index.vector_index import VectorIndex
from ubm_embed.progress import Progress, silent


def answers_section(
    space: Space,
    index: VectorIndex | None,
    sample: SessionSample,
    settings: DiagnosisSettings,
    progress: Progress = silent,
) -> Section:
    """Section "answers".

    Args:
        index: the live one; None to search all vectors of the space instead.
    """
    return Section(name="answers", title="Answers of sampled sessions")
