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
from indexer.store.product_table import ProductTable
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced
from ubm_embed.evaluation.uniformity import uniformity

# Vectors that uniformity is measured on, and that are compared with those of an index that was kept up.
_SAMPLE = 1000


@dataclass(frozen=True)
class VectorMeasurement:
    """What is known of a version's vectors before there is an index.

    Attributes:
        sample: positions of some products.
        sampled: their vectors.
        taken_over: what it has from the version before; None if they cannot be compared.
        reason: why no index is kept up; None if that can be tried.
        probes: of the version.
        statistics: of the pass over all vectors that made the probes; None if they were taken over.
        gate: whether the vectors are of length 1.
    """

    sample: IntArray
    sampled: FloatArray
    taken_over: TakenOver | None
    reason: str | None
    probes: Probes
    statistics: ScanStatistics | None
    gate: GateResult

    @classmethod
    def measure(
        cls,
        table: ProductTable,
        candidate: ReleaseCandidate,
        written: WrittenVersion,
        earlier: EarlierVersion | None,
        settings: RefreshSettings,
    ) -> VectorMeasurement:
        """Measure those of a candidate: by what is new, if most are known, or by one pass over all of them."""
        vectors, wanted = TableVectors(table, candidate.table_version), settings.gate_queries
        reason = reason_not_to_keep(earlier, candidate.base, candidate.index, settings)
        taken_over = None
        if earlier is not None and written.origins is not None and written.distinct_ids == written.rows:
            taken_over = TakenOver.compare(table, candidate.table_version, earlier, written.origins, wanted)
        elif reason is None:
            reason = "its products cannot be compared with those of the version before"
        sample = evenly_spaced(written.rows, _SAMPLE)
        sampled = vectors.at(sample)
        if taken_over is not None and taken_over.probes is not None and reason is None:
            bad = taken_over.not_unit_length + not_unit_length(sampled).size
            gate = vectors_gate(bad, taken_over.added + len(sampled))
            return cls(sample, sampled, taken_over, reason, taken_over.probes, None, gate)
        probes, statistics = Probes.scan(vectors, vectors.at, written.rows, wanted)
        gate = vectors_gate(statistics.not_unit_length, statistics.rows)
        return cls(sample, sampled, taken_over, reason, probes, statistics, gate)

    @property
    def uniformity(self) -> float | None:
        """Of the sample (paper 4.6); None of fewer than two."""
        return uniformity(self.sampled) if len(self.sampled) > 1 else None
