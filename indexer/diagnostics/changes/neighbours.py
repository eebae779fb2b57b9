"""Whether products kept their neighbours and the whole stayed where it was, as the gates of a refresh measure it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.changes.commands import difference_of, rollback_to
from indexer.diagnostics.changes.share_histogram import histogram
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric
from indexer.diagnostics.space import VersionSpace
from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.version_shift import NEAREST, ScannedVersion, VersionShift, measure_shift, retention
from ubm_embed.data.arrays import IntArray
from ubm_embed.progress import Progress, silent

_FAULTS = {Gate.NEIGHBOURS: Fault.MOVED_NEIGHBOURS, Gate.CENTROID: Fault.SHIFTED_CENTROID}


def shift_between(
    before: VersionSpace, after: VersionSpace, count: int, *, same_model: bool, progress: Progress = silent
) -> VersionShift:
    """What a refresh from one version to the other measures, with the same sample of `count` products."""
    table = after.store.table
    later = ScannedVersion.scan(table, after.opened.version.table_version, after.product_ids, count, progress)
    earlier = before.opened.version.table_version
    return measure_shift(table, earlier, later, same_model=same_model, progress=progress)


def shift_metrics(shift: VersionShift, *, rounds: int, seed: int) -> list[Metric]:
    """`retention` and `centroid_shift`, as far as they were measured."""
    metrics = []
    if shift.retention is not None:
        metrics.append(_retention(shift, rounds, seed))
    if shift.centroid is not None:
        meaning = "distance that the mean vector moved; near 0 after a refresh with the same model"
        metrics.append(
            Metric(
                name="centroid_shift",
                value=shift.centroid,
                measured_on="all products",
                better=Better.LOWER,
                meaning=meaning,
            )
        )
    return metrics


def _retention(shift: VersionShift, rounds: int, seed: int) -> Metric:
    def measure(drawn: IntArray) -> dict[str, float]:
        return {"retention": retention(shift.kept[drawn], shift.present[drawn])}

    meaning = f"share of the {NEAREST} nearest products that are still among them; above 0.9 after a usual night"
    (metric,) = bootstrapped_metrics(
        measure,
        shift.rows.size,
        {"retention": (Better.HIGHER, meaning)},
        f"{shift.rows.size:,} products of both versions",
        rounds=rounds,
        seed=seed,
        shares=("retention",),
    )
    return metric


def shift_findings(gates: Sequence[GateResult], before: VersionSpace, after: VersionSpace) -> list[Finding]:
    """A warning for each gate that a refresh would not have passed."""
    difference, back = difference_of(before, after), rollback_to(before)
    remedies = {
        Gate.NEIGHBOURS: f"see which products moved; if their texts were not meant to change ({difference}), go back: "
        f"{back}",
        Gate.CENTROID: f"all texts or the model changed alike: if that was not meant ({difference}), go back: {back}",
    }
    return [
        Finding(_FAULTS[gate.gate], Severity.WARNING, "changes", _problem(gate), remedies[gate.gate])
        for gate in gates
        if not gate.passed
    ]


def _problem(gate: GateResult) -> str:
    return f"{gate.message} (a refresh expects at {'most' if gate.is_max else 'least'} {gate.limit:g})"


def retention_chart(shift: VersionShift) -> Chart:
    """How many products kept how many of their neighbours."""
    shares = shift.kept / np.maximum(shift.present, 1)
    return Chart(
        name="retention",
        kind=ChartKind.HISTOGRAM,
        title=f"Share of its {NEAREST} nearest neighbours that a product kept",
        rows=histogram(shares[shift.present > 0]),
        good="nearly all products stand on the right, at 1",
        remedy="look at the products that moved most, and whether their texts were meant to change",
        x="share that it kept",
        y="products",
    )
