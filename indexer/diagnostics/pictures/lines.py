"""Charts of lines: spectra, training curves and the timeline of versions."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from indexer.diagnostics.pictures.palette import INK
from indexer.diagnostics.pictures.thinning import Row
from indexer.diagnostics.pictures.view import View, layer


def spectrum(view: View) -> alt.LayerChart:
    """Share of the variance by rank, on a logarithmic scale."""
    y = alt.Y("share:Q", title=view.chart.y or "share of the variance", scale=alt.Scale(type="log"), axis=_powers())
    line = layer().mark_line()
    return view.layered(
        line.encode(
            x=alt.X("rank:Q", title=view.chart.x or "principal component, the largest first"),
            y=y,
            color=view.colour,
            strokeDash=view.dash,
            tooltip=view.tooltips(name="of", rank="component", share="share of the variance"),
        )
    )


def with_shares(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows that a logarithmic scale can show."""
    return [row for row in rows if row.get("share", 0) > 0]


def _powers() -> alt.Axis:
    return alt.Axis(format="~e", tickCount=5)


def curves(view: View) -> alt.LayerChart:
    """A line for each name."""
    line = layer().mark_line()
    return view.layered(
        line.encode(
            x=alt.X("x:Q", title=view.chart.x or None, scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y("y:Q", title=view.chart.y or None, scale=alt.Scale(zero=False)),
            color=view.colour,
            strokeDash=view.dash,
            tooltip=view.tooltips(name="of", x=view.chart.x or "x", y=view.chart.y or "y"),
        )
    )


def timeline(view: View) -> alt.LayerChart:
    """A figure of each version; the live one is a diamond."""
    live_is = ", the live one as a diamond" if view.has("is_live") else ""
    x = alt.X(
        "version:O", title=f"{view.chart.x or 'version'}{live_is}", axis=alt.Axis(labelAngle=0, labelOverlap=True)
    )
    # Else the axis of a single value is labelled without its decimals.
    numbers = alt.Axis(format=",.6~r")
    y = alt.Y("value:Q", title=view.chart.y or None, scale=alt.Scale(zero=False), axis=numbers)
    tips = view.tooltips(version="version", created="created", value=view.title or "value", is_live="live")
    points = layer().mark_point()
    if view.has("is_live"):
        live = alt.condition("datum.is_live", alt.value("diamond"), alt.value("circle"))
        size = alt.condition("datum.is_live", alt.value(200), alt.value(60))
        points = points.encode(shape=live, size=size)
    return view.layered(
        layer().mark_line(color=INK, opacity=0.4).encode(x=x, y=y), points.encode(x=x, y=y, tooltip=tips)
    )
