"""The tables of a report on serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.report import markdown_table
from benchmarks.serving.load_figures import Figures
from benchmarks.serving.rate_ladder import highest

_NAMES = {
    "ours": "ubm-embed, whole sessions",
    "ours_events": "ubm-embed, event and answer",
    "one_at_a_time": "ubm-embed, one at a time",
    "rival": "FastAPI, sentence-transformers, FAISS",
}
_P99_MS, _P90_MS = 25.0, 7.0
_COLUMNS = ("requests/s at p99 25 ms", "at p90 7 ms", "p50, p90, p99 at 100/s", "at 600/s", "CPU ms", "MB")
_OVER = ("offered/s", "answered/s", "p99", "429", "other errors", "CPU ms")


def table(report: Mapping[str, Any]) -> str:
    """All tables."""
    return "\n\n".join(_tables(report))


def _tables(report: Mapping[str, Any]) -> Iterator[str]:
    for shop in report.get("shops", ()):
        services = shop["services"]
        yield markdown_table((f"{shop['products']:,} products", *_COLUMNS), map(_row, services, services.values()))
        over = shop["overload"]
        yield markdown_table(("beyond capacity", *_OVER), map(_overload_row, over, over.values()))
    if "swaps" in report:
        yield _swaps(report["swaps"])
    if "steady" in report:
        yield _steady(report["steady"])
    late = sum(not one["generator"]["kept_up"] for one in _all_figures(report))
    if late:
        yield f"In {late} of these the load generator itself was late."


def _row(name: str, rows: Sequence[Figures]) -> tuple[str, ...]:
    at_p99, at_p90 = highest(rows, "p99_ms", _P99_MS), highest(rows, "p90_ms", _P90_MS)
    best = at_p90 or rows[0]
    return (
        _NAMES[name],
        _rate(at_p99),
        _rate(at_p90),
        _latencies(_at(rows, 100.0)),
        _latencies(_at(rows, 600.0)),
        f"{best['cpu_ms'] or float('nan'):.2f}",
        f"{rows[-1]['own_mb']:.0f}",
    )


def _overload_row(name: str, one: Figures) -> tuple[str, ...]:
    return (
        _NAMES[name],
        f"{one['offered_per_s']:.0f}",
        f"{one['answered_per_s']:.0f}",
        _ms(one["p99_ms"]),
        str(one["refused"]),
        _errors(one["errors"]),
        f"{one['cpu_ms'] or float('nan'):.2f}",
    )


def _swaps(swaps: Mapping[str, Any]) -> str:
    rows = [("usual", swaps["usual"]), (f"{swaps['swaps_seen']} of {swaps['published']} versions", swaps["swapping"])]
    lines = [
        (name, str(one["answered"]), _latencies(one), str(one["refused"]), _errors(one["errors"])) for name, one in rows
    ]
    columns = ("new versions", "answered", "p50, p90, p99", "429", "other errors")
    slowest = max(swaps["seconds_to_swap"], default=float("nan"))
    return f"{markdown_table(columns, lines)}\n\nMixed answers: {swaps['mixed']}. Slowest swap: {slowest:.1f} s."


def _steady(steady: Mapping[str, Any]) -> str:
    return (
        f"{steady['seconds']} s at {steady['rate']:.0f} steps/s: {steady['own_mb'][0]:.0f} MB at first, "
        f"{steady['own_mb'][-1]:.0f} MB at the end, {steady['growth_mb']:+.1f} MB in the second half; "
        f"p99 {min(steady['p99_ms']):.1f} to {max(steady['p99_ms']):.1f} ms, {steady['refused']} refused, "
        f"{len(steady['errors'])} parts with errors."
    )


def _all_figures(report: Mapping[str, Any]) -> Iterator[Figures]:
    for shop in report.get("shops", ()):
        for rows in shop["services"].values():
            yield from rows
        yield from shop["overload"].values()
    if "swaps" in report:
        yield from (report["swaps"]["usual"], report["swaps"]["swapping"])


def _at(rows: Sequence[Figures], rate: float) -> Figures | None:
    return next((one for one in rows if one["rate"] == rate), None)


def _rate(one: Figures | None) -> str:
    return "none" if one is None else f"{one['answered_per_s']:.0f}"


def _latencies(one: Figures | None) -> str:
    return "" if one is None else " ".join(_ms(one[name]) for name in ("p50_ms", "p90_ms", "p99_ms"))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _errors(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in errors.items()) or "0"
