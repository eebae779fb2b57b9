"""Checks that a version must pass before it is published.

schema      columns of the live version that the catalogue lacks, or that are no longer numbers or booleans
rows        share of the live version's products that the catalogue lacks
written     the table holds every row of the catalogue once, unchanged, and no other row
vectors     every vector is finite and of length 1
indexed     every row of the table is in the index, once
recall      share of the exact ten nearest neighbours that the index returns
latency     median time of a single query, if a limit was requested
neighbours  share of the ten nearest neighbours in the live version that are still among them, over a sample of
            products; a product does not count as its own neighbour
centroid    distance that the mean vector moved
uniformity  of a sample of vectors (paper 4.6); near 0 means that they are all alike
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

    SCHEMA = "schema"
    ROWS = "rows"
    WRITTEN = "written"
    VECTORS = "vectors"
    INDEXED = "indexed"
    RECALL = "recall"
    LATENCY = "latency"
    NEIGHBOURS = "neighbours"
    CENTROID = "centroid"
    UNIFORMITY = "uniformity"


# A version that fails one of these cannot answer correctly, so `allow` does not apply to them.
UNCONDITIONAL = frozenset({Gate.WRITTEN, Gate.VECTORS, Gate.INDEXED})


@dataclass(frozen=True)
class GateResult:
    """The outcome of one gate.

    Attributes:
        value: the measured value.
        limit: the value that still passes.
        is_max: whether `limit` is the largest value that passes; otherwise it is the smallest.
        message: the finding in words, without a full stop.
    """

    gate: Gate
    value: float
    limit: float
    is_max: bool
    message: str

    @property
    def passed(self) -> bool:
        """Whether the value is within its limit; NaN never is."""
        if math.isnan(self.value):
            return False
        return self.value <= self.limit if self.is_max else self.value >= self.limit

    def to_dict(self) -> dict[str, Any]:
        """The manifest's entry for this gate."""
        return {"value": round(self.value, 6), "limit": self.limit, "passed": self.passed}


def require_passed(results: Iterable[GateResult], allowed: Collection[Gate]) -> None:
    """Raise `QualityGateFailed` for the gates that failed and may not; the message says how to override each."""
    failed = [
        result
        for result in results
        if not result.passed and (result.gate in UNCONDITIONAL or result.gate not in allowed)
    ]
    if failed:
        raise QualityGateFailed("; ".join(map(_explanation, failed)) + "; nothing was published")


def _explanation(result: GateResult) -> str:
    bound = f"{'at most' if result.is_max else 'at least'} {result.limit:g}"
    if result.gate in UNCONDITIONAL:
        return f"gate '{result.gate}': {result.message}, expected {bound}; no option overrides this gate"
    override = f"to publish anyway: --allow {result.gate}"
    if result.gate == Gate.SCHEMA:  # a column is there or not
        return f"gate '{result.gate}': {result.message}; {override}"
    override += ", or another --latency-ms" if result.gate == Gate.LATENCY else ", or another limit in --config"
    return f"gate '{result.gate}': {result.message}, expected {bound}; {override}"
