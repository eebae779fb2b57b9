"""What moved from one version of a store to another."""

from __future__ import annotations

from indexer.diagnostics.changes.catalogue import catalogue_metrics, difference_between
from indexer.diagnostics.changes.neighbours import retention_chart, shift_between, shift_findings, shift_metrics
from indexer.diagnostics.report import Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.refresh.settings import GateLimits
from indexer.refresh.version_shift import shift_gates
from ubm_embed.progress import Progress, silent


def changes_section(
    before: VersionSpace,
    after: VersionSpace,
    sample: SessionSample | None,
    settings: DiagnosisSettings,
    progress: Progress = silent,
    *,
    limits: GateLimits | None = None,
) -> Section:
    """Compare two versions of one store.

    Args:
        before, after: the earlier version and the later one.
        sample: sessions that both versions answer; None leaves answers out.
        limits: of the gates of a refresh, which decide what counts as moved; None is their defaults.
    """
    same_model = before.opened.version.vectors_model_id == after.opened.version.vectors_model_id
    shift = shift_between(before, after, same_model=same_model, progress=progress)
    gates = shift_gates(shift, limits or GateLimits(), same_model=same_model)
    return Section(
        name="changes",
        title=f"From {before.name} to {after.name}",
        metrics=(
            *catalogue_metrics(difference_between(before, after), len(before), len(after)),
            *shift_metrics(shift, rounds=settings.rounds, seed=settings.seed),
        ),
        charts=(retention_chart(shift),) if shift.rows.size else (),
        findings=tuple(shift_findings(gates, after.store.uri)),
    )
