"""What is known of the vectors of a new version before there is an index over them."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.refresh.built_index import TableVectors
from indexer.refresh.earlier_version import EarlierVersion
from indexer.refresh.exact_scan import ScanStatistics
from indexer.refresh.gates import GateResult
from indexer.refresh.index_update import reason_not_to_keep
from indexer.refresh.made_index import TakenOver
from indexer.refresh.probes import Probes
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import not_unit_length
from indexer.refresh.version_gates import vectors_gate
from indexer.refresh.written_version import WrittenVersion
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.evaluation.uniformity import uniformity

# Vectors that uniformity is measured on.
_SAMPLE = 1000


@dataclass(frozen=True)
class VectorMeasurement:
    """What is known of a version's vectors before there is an index.

    Attributes:
        uniformity: of a sample (paper 4.6); None of fewer than two.
        taken_over: what it has from the version before; None if they cannot be compared.
        reason: why no index is kept up; None if that can be tried.
        probes: of the version.
        statistics: of the pass over all vectors that made the probes; None if they were taken over.
        gate: whether the vectors are of length 1.
    """

    uniformity: float | None
    taken_over: TakenOver | None
    reason: str | None
    probes: Probes
    statistics: ScanStatistics | None
    gate: GateResult

    @classmethod
    def measure(
        cls,
        vectors: TableVectors,
        candidate: ReleaseCandidate,
        written: WrittenVersion,
        earlier: EarlierVersion | None,
        settings: RefreshSettings,
    ) -> VectorMeasurement:
        """Measure those of a candidate: by what is new, if most are known, or by one pass over all of them."""
        reason = reason_not_to_keep(earlier, candidate.base, candidate.index, settings)
        taken_over = None
        if earlier is not None and written.origins is not None and written.distinct_ids == written.rows:
            taken_over = TakenOver.compare(vectors, earlier, written.origins, settings.gate_queries)
            if reason is None and earlier.index is not None:
                reason = taken_over.next_night(earlier.index).reason_to_train(written.rows, settings.retrain_every)
        elif reason is None:
            reason = "its products cannot be compared with those of the version before"
        sampled = vectors.at(evenly_spaced(written.rows, _SAMPLE))
        measured = uniformity(sampled) if len(sampled) > 1 else None
        if reason is not None or taken_over is None or taken_over.probes is None:
            return cls._scanned(vectors, written.rows, settings.gate_queries, measured, taken_over, reason)
        bad = taken_over.not_unit_length + not_unit_length(sampled).size
        gate = vectors_gate(bad, taken_over.added + len(sampled))
        return cls(measured, taken_over, reason, taken_over.probes, None, gate)

    def scanned(self, vectors: TableVectors, reason: str, wanted: int) -> VectorMeasurement:
        """The same by a pass over all vectors, for a version that takes nothing over."""
        return self._scanned(vectors, self.probes.count, wanted, self.uniformity, None, reason)

    @classmethod
    def _scanned(
        cls,
        vectors: TableVectors,
        count: int,
        wanted: int,
        measured: float | None,
        taken_over: TakenOver | None,
        reason: str | None,
    ) -> VectorMeasurement:
        probes, statistics = Probes.scan(vectors, vectors.at, count, wanted)
        gate = vectors_gate(statistics.not_unit_length, statistics.rows)
        return cls(measured, taken_over, reason, probes, statistics, gate)
