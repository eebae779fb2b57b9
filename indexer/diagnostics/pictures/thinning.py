"""Rows of a chart that fit into a page: at most so many, with short texts and few digits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from indexer.diagnostics.report import Chart, ChartKind
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.data.session import encodable

Row = dict[str, Any]
MAX_TEXT = 160  # characters
_DIGITS = 7  # significant ones, those of float32


def thinned(chart: Chart, limit: int) -> list[Row]:
    """At most about `limit` rows of a chart, without what cannot be drawn: missing and infinite values."""
    rows = [dict(row) for row in chart.rows]
    if len(rows) > limit:
        rows = _lines(rows, limit) if chart.kind is ChartKind.CURVES else _spread(rows, limit)
    return [{key: _short(value) for key, value in row.items() if _can_be_drawn(value)} for row in rows]


def _spread(rows: Sequence[Row], limit: int) -> list[Row]:
    return [rows[row] for row in evenly_spaced(len(rows), limit).tolist()]


def _lines(rows: Sequence[Row], limit: int) -> list[Row]:
    """The lowest and the highest of each stretch of a line, so that a peak stays."""
    lines = [[*line] for _, line in groupby(sorted(rows, key=_line), key=_line)]
    stretches = max(1, limit // len(lines) // 2)
    return [row for line in lines for row in _extremes(line, stretches)]


def _line(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("panel")), str(row.get("name"))


def _extremes(line: Sequence[Row], stretches: int) -> Iterator[Row]:
    bounds = [len(line) * stretch // stretches for stretch in range(stretches + 1)]
    for begin, end in pairwise(bounds):
        stretch = [row for row in range(begin, end) if _can_be_drawn(line[row]["y"])]
        if stretch:
            ends = {min(stretch, key=lambda row: line[row]["y"]), max(stretch, key=lambda row: line[row]["y"])}
            yield from (line[row] for row in sorted(ends))


def _can_be_drawn(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return _one_line(value) if isinstance(value, str) else value


def _one_line(text: str) -> str:
    """Text without line separators, which Vega takes for the end of an expression, and without half a character."""
    text = " ".join(encodable(text).split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
