"""A made-up diagnosis with a chart of each kind, and texts that would break a careless page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Diagnosis, Metric, Section, Table

HOSTILE = "</script><script>window.broken = 1</script><img src='http://example.com/x' onerror='window.broken = 2'>"
SEPARATED = "two\u2028lines \"quoted\" & <b>bold</b> {{braces}} datum['x'] \ud83d"
LATER = ("version 1", "version 2")

ROWS: dict[ChartKind, Sequence[dict[str, Any]]] = {
    ChartKind.PLANE: [
        {"name": name, "subject": subject, "alignment": 0.2 + place, "uniformity": -2.0 - place}
        | {"alignment_low": 0.1 + place, "alignment_high": 0.3 + place, "uniformity_low": -3.0, "uniformity_high": -1.0}
        for place, name in enumerate(LATER)
        for subject in ("products", HOSTILE)
    ],
    ChartKind.SPECTRUM: [
        {"name": name, "rank": rank, "share": math.exp(-rank) if rank < 40 else 0.0}
        for name in LATER
        for rank in range(1, 50)
    ],
    ChartKind.HISTOGRAM: [{"low": low, "high": low + 1, "count": 10 ** (5 - low)} for low in range(5)],
    ChartKind.MAP: [
        {"x": math.sin(row), "y": math.cos(row * row), "subject": ("product", "session")[row % 2], "name": panel}
        | {"label": (HOSTILE, SEPARATED, "red shirt")[row % 3], "category": f"{SEPARATED} {row % 10}"}
        for panel in ("by category", HOSTILE)
        for row in range(60)
    ],
    ChartKind.BARS: [
        {"name": name, "group": group, "value": 0.5, "low": 0.4, "high": 0.6, "count": 20}
        for name in LATER
        for group in ("0", "1 to 5", SEPARATED)
    ],
    ChartKind.RELIABILITY: [
        {"name": "purchase", "predicted": tenth / 10, "observed": tenth / 12, "count": 9, "low": 0.0, "high": 1.0}
        for tenth in range(10)
    ],
    ChartKind.CURVES: [
        {"panel": panel, "name": name, "x": step, "y": math.nan if step == 7 else 1 / (1 + step)}
        for panel in ("loss", HOSTILE)
        for name in ("train", "validation")
        for step in range(50)
    ],
    ChartKind.TIMELINE: [
        {"panel": "products", "version": version, "created": "2026-01-01T00:00:00Z", "value": 100 * version}
        | {"is_live": version == 2}
        for version in (1, 2, 3)
    ],
}


def chart(kind: ChartKind, **changes: Any) -> Chart:
    """A chart of made-up rows."""
    settings: dict[str, Any] = {"name": str(kind), "title": f"A chart: {SEPARATED}", "rows": ROWS[kind]}
    return Chart(**{**settings, "kind": kind, "good": HOSTILE, "remedy": "`ubm-embed --help`", **changes})


def diagnosis(*charts: Chart) -> Diagnosis:
    """A diagnosis with these charts, or with one of each kind."""
    findings = (
        Finding(Fault.HUBS, Severity.NOTE, "space", "a few hubs", "nothing"),
        Finding(
            Fault.COLLAPSED, Severity.ERROR, "space", f"all alike, such as {HOSTILE}", "train: `ubm-embed pretrain`"
        ),
        Finding(Fault.LOW_RANK, Severity.WARNING, "space", SEPARATED, SEPARATED),
    )
    metric = Metric(
        name="uniformity",
        value=-2.34567,
        interval=(-2.5, -2.25),
        measured_on=HOSTILE,
        better=Better.LOWER,
        meaning=SEPARATED,
    )
    table = Table("hubs", f"Hubs {HOSTILE}", ["product", HOSTILE], [[HOSTILE, 1234], [SEPARATED, None]])
    section = Section(
        name="space",
        title=f"The space {HOSTILE}",
        metrics=(metric,),
        tables=(table,),
        charts=charts or tuple(map(chart, ROWS)),
        findings=findings,
        notes=(SEPARATED,),
    )
    subject = {"kind": "version", "name": f"a store {HOSTILE}", "version": 3, "against": None}
    return Diagnosis(subject=subject, created="2026-01-01T00:00:00Z", software="1", sections=(section,))
