"""Checks that a version must pass before it is published, each with its limit.

rows        share of the live version's products that the catalogue lost
written     the table has each row of the catalogue once, as it is, and no other
vectors     no vector is NaN, zero or of another length than 1
indexed     every row of the table is in the index, once
recall      share of the exact ten nearest that the index finds
latency     median time of a single query, where a limit was asked for
neighbours  share of the live version's ten nearest that still are, of a sample; a product is none of its own
centroid    how far the mean vector moved
uniformity  of a sample of vectors (paper 4.6): near 0 they are all alike
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ubm_embed.errors import QualityGateFailed


class Gate(enum.StrEnum):
    """One check."""

    ROWS = "rows"
    WRITTEN = "written"
    VECTORS = "vectors"
    INDEXED = "indexed"
    RECALL = "recall"
    LATENCY = "latency"
    NEIGHBOURS = "neighbours"
    CENTROID = "centroid"
    UNIFORMITY = "uniformity"


# Without these a version cannot answer, whatever anybody allows.
UNCONDITIONAL = frozenset({Gate.WRITTEN, Gate.VECTORS, Gate.INDEXED})


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """The limit of each gate.

    Attributes:
        most_lost: share of the live version's products that a catalogue may lack.
        least_recall: recall@10 of the index against exact search.
        least_overlap: share of the ten nearest of the live version that must still be, with the same model.
        least_overlap_of_another_model: the same, where a new model takes over: only garbage is to be stopped.
        most_shift: length of the mean vector's move, with the same model. (Those of two models are not comparable.)
        most_uniformity: 0 is all vectors alike, as of a model that collapsed; a trained one is below -1.

    Raises:
        ValueError: a limit outside its range.
    """

    most_lost: float = 0.2
    least_recall: float = 0.99
    least_overlap: float = 0.5
    least_overlap_of_another_model: float = 0.05
    most_shift: float = 0.1
    most_uniformity: float = -0.01

    def __post_init__(self) -> None:
        for name in ("most_lost", "least_recall", "least_overlap", "least_overlap_of_another_model"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.most_shift <= 2:
            raise ValueError(f"most_shift must be in [0, 2], got {self.most_shift}")
        if not self.most_uniformity <= 0:
            raise ValueError(f"most_uniformity must be at most 0, got {self.most_uniformity}")


@dataclass(frozen=True)
class Measured:
    """What a gate found.

    Attributes:
        value: what was measured.
        limit: what it may be.
        most: whether the limit is the highest value that passes, not the lowest.
        says: the finding in words, without a full stop.
    """

    gate: Gate
    value: float
    limit: float
    most: bool
    says: str

    @property
    def passed(self) -> bool:
        """Whether it is within its limit. NaN is not."""
        if math.isnan(self.value):
            return False
        return self.value <= self.limit if self.most else self.value >= self.limit

    def to_dict(self) -> dict[str, Any]:
        """As the manifest has it, beside whether it was passed or only allowed."""
        return {"value": round(self.value, 6), "limit": self.limit, "passed": self.passed}


def require_passed(measured: Iterable[Measured], allowed: Collection[Gate]) -> None:
    """Raise `QualityGateFailed` for gates that failed and are not allowed to; says how to override each."""
    failed = [one for one in measured if not one.passed and not (one.gate in allowed and one.gate not in UNCONDITIONAL)]
    if failed:
        raise QualityGateFailed("; ".join(map(_explained, failed)) + "; nothing was published")


def _explained(one: Measured) -> str:
    bound = f"{'at most' if one.most else 'at least'} {one.limit:g}"
    if one.gate in UNCONDITIONAL:
        return f"gate '{one.gate}': {one.says}, expected {bound}; no option allows that"
    limit = "another --latency-ms" if one.gate == Gate.LATENCY else "another limit in --config"
    override = f"to publish all the same: --allow {one.gate}, or {limit}"
    return f"gate '{one.gate}': {one.says}, expected {bound}; {override}"
