"""Charts as Vega-Lite: one function for each kind, each from a chart's rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import altair as alt

from indexer.diagnostics.pictures.bars import bars, histogram, with_counts
from indexer.diagnostics.pictures.lines import curves, spectrum, timeline, with_shares
from indexer.diagnostics.pictures.palette import CONFIG
from indexer.diagnostics.pictures.points import plane, reliability, scatter, with_frequent_categories
from indexer.diagnostics.pictures.thinning import Row, thinned
from indexer.diagnostics.pictures.view import View
from indexer.diagnostics.report import Chart, ChartKind
from ubm_embed.data.session import encodable
from ubm_embed.wording import sentence

Spec = dict[str, Any]

_DRAW: Mapping[ChartKind, Callable[[View], alt.LayerChart]] = {
    ChartKind.PLANE: plane,
    ChartKind.SPECTRUM: spectrum,
    ChartKind.HISTOGRAM: histogram,
    ChartKind.MAP: scatter,
    ChartKind.BARS: bars,
    ChartKind.RELIABILITY: reliability,
    ChartKind.CURVES: curves,
    ChartKind.TIMELINE: timeline,
}
_PREPARE: Mapping[ChartKind, Callable[[Sequence[Row]], Sequence[Row]]] = {
    ChartKind.BARS: with_counts,
    ChartKind.MAP: with_frequent_categories,
    ChartKind.SPECTRUM: with_shares,
}
# What the views of a chart are told apart by.
_PANEL = {ChartKind.MAP: "name", ChartKind.CURVES: "panel", ChartKind.TIMELINE: "panel"}
_NAMED = (ChartKind.CURVES, ChartKind.TIMELINE)  # a single view of these says what it shows as well
_HEIGHT = {ChartKind.MAP: 420, ChartKind.RELIABILITY: 340, ChartKind.PLANE: 320, ChartKind.TIMELINE: 170}
_LOW = 220  # pixels
_WIDTH, _HALF = 680, 370  # of a picture with one view, and of one of two side by side


def specs(chart: Chart, limit: int) -> list[Spec]:
    """The views of a chart for a page, as wide as the page lets them: about `limit` rows, none for none.

    The page adds `CONFIG`.
    """
    found = []
    for view in _views(chart, limit, interactive=True):
        drawn = _DRAW[chart.kind](view).properties(width="container", height=_HEIGHT.get(chart.kind, _LOW))
        drawn = drawn.properties(description=f"{chart.title}. {chart.good}")
        spec = _with_rows(drawn.to_dict(validate=False), [view])
        found.append({key: value for key, value in spec.items() if key not in ("config", "$schema")})
    return found


def _with_rows(spec: Spec, views: Sequence[View]) -> Spec:
    """The specification with the rows of its views."""
    return {**spec, "datasets": {**spec.get("datasets", {}), **{view.dataset: [*view.rows] for view in views}}}


def picture(chart: Chart, limit: int) -> Spec | None:
    """All views of a chart as one picture, which says what good looks like and what to do; None if it has no rows."""
    views = _views(chart, limit)
    if not views:
        return None
    size = {"width": _WIDTH if len(views) == 1 else _HALF, "height": _HEIGHT.get(chart.kind, _LOW)}
    drawn = [_DRAW[chart.kind](view).properties(**size) for view in views]
    whole = drawn[0] if len(drawn) == 1 else _side_by_side(drawn)
    hints = (f"Good: {sentence(chart.good)}", f"Otherwise: {sentence(chart.remedy)}".replace("`", ""))
    lines = [line for hint in hints for line in wrap(encodable(hint), 110)]
    title = alt.TitleParams(wrap(encodable(chart.title), 80), subtitle=lines, offset=12)
    spec: Spec = whole.properties(title=title).to_dict()
    legend = {**CONFIG["legend"], "columns": 3 if len(views) == 1 else 2}  # as wide as a view
    return {**_with_rows(spec, views), "config": {**CONFIG, "background": "white", "padding": 12, "legend": legend}}


def _side_by_side(drawn: Sequence[alt.LayerChart]) -> alt.ConcatChart:
    """Views in two columns, each with the legend of what it shows."""
    apart: Any = "independent"
    views: alt.ConcatChart = alt.concat(*drawn, columns=2).resolve_scale(color=apart, shape=apart, strokeDash=apart)
    return views


def _views(chart: Chart, limit: int, *, interactive: bool = False) -> Sequence[View]:
    rows = thinned(chart, limit)
    field = _PANEL.get(chart.kind, "")
    by_panel: dict[str, list[Row]] = {}
    for row in rows:
        by_panel.setdefault(str(row.get(field, "")), []).append(row)
    prepare = _PREPARE.get(chart.kind, _unchanged)
    several = len(by_panel) > 1 or chart.kind in _NAMED
    return [
        View(chart, prepare(some), _names(some), panel if several else "", interactive)
        for panel, some in by_panel.items()
    ]


def _names(rows: Sequence[Row]) -> list[str]:
    return [*dict.fromkeys(str(row["name"]) for row in rows if "name" in row)]


def _unchanged(rows: Sequence[Row]) -> Sequence[Row]:
    return rows
