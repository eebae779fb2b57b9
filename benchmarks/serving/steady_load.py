"""Does a service grow under a steady load?"""

from __future__ import annotations

from typing import Any

from benchmarks.serving.services import Candidate


def steady_load(candidate: Candidate, *, rate: float, seconds: float, part_seconds: float) -> dict[str, Any]:
    """Memory and latencies of each part of a load, and by how much memory grew in the second half."""
    parts = [candidate.measure(rate, part_seconds) for _ in range(max(2, round(seconds / part_seconds)))]
    own = [one["own_mb"] for one in parts]
    return {
        "rate": rate,
        "seconds": round(part_seconds * len(parts)),
        "answered": sum(one["answered"] for one in parts),
        "refused": sum(one["refused"] for one in parts),
        "errors": [one["errors"] for one in parts if one["errors"]],
        "p99_ms": [one["p99_ms"] for one in parts],
        "own_mb": own,
        "growth_mb": round(own[-1] - own[len(own) // 2 - 1], 1),
    }
