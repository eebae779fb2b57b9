"""The figures of one load: what was answered, how late, and what it cost the server."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.serving.load_generator import LOST, OK, UNANSWERED, Load, Seconds

Figures = dict[str, Any]

REFUSED = 429

# A run whose generator was later or busier than this says more about the generator than about the server.
_MAX_LAG_MS, _MAX_CPU = 2.0, 0.7


def figures(load: Load, server_cpu: float | None = None) -> Figures:
    """Rates, latencies in milliseconds and counts of a load.

    A step counts as answered when all its requests were answered with 200. What was answered after the last arrival
    does not count for the rate.

    Args:
        server_cpu: CPU seconds of the server meanwhile.
    """
    ok = load.status == OK
    seconds = float(load.due[-1]) or load.wall  # all at once: until everything was answered
    answered = int(ok.sum())
    whole = _latencies_of_steps(load)
    return {
        "steps": len(load.due),
        "offered_per_s": round(len(load.due) / seconds, 1),
        "answered_per_s": round(float((ok & (load.done <= seconds)).sum()) / seconds, 1),
        "answered": answered,
        "refused": int((load.status == REFUSED).sum()),
        "errors": _errors(load),
        **_percentiles(whole),
        "cpu_ms": round(1000 * server_cpu / answered, 3) if server_cpu is not None and answered else None,
        "reconnects": load.reconnects,
        "connections": load.connections,
        "generator": _generator(load),
    }


def _latencies_of_steps(load: Load) -> Seconds:
    """Of steps that were answered whole, from their arrival to their last answer."""
    failed = np.zeros(len(load.due), dtype=bool)
    failed[load.step[load.status != OK]] = True
    last = np.full(len(load.due), -np.inf)
    np.maximum.at(last, load.step[load.status == OK], load.done[load.status == OK])
    latencies: Seconds = (last - load.due)[~failed]
    return latencies


def _percentiles(latencies: Seconds) -> Figures:
    names = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    if not latencies.size:
        return dict.fromkeys(names)
    return {
        name: round(1000 * float(value), 3)
        for name, value in zip(names, np.percentile(latencies, [50, 90, 99, 100]), strict=True)
    }


def _errors(load: Load) -> dict[str, int]:
    """How often each status came that is neither 200 nor 429."""
    names = {LOST: "lost", UNANSWERED: "unanswered"}
    numbers, counts = np.unique(load.status, return_counts=True)
    return {
        names.get(int(number), str(number)): int(count)
        for number, count in zip(numbers, counts, strict=True)
        if number not in (OK, REFUSED)
    }


def _generator(load: Load) -> Figures:
    lag = 1000 * float(np.percentile(load.lag, 99))
    cpu = load.cpu / load.wall
    return {
        "lag_p99_ms": round(lag, 3),
        "lag_max_ms": round(1000 * float(load.lag.max()), 3),
        "cpu": round(cpu, 3),
        "kept_up": bool(lag <= _MAX_LAG_MS and cpu <= _MAX_CPU),
    }
