"""Charts of points: the plane of alignment and uniformity, maps, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from indexer.diagnostics.pictures.palette import INK, OTHER, SHAPES, colours_of, most_frequent
from indexer.diagnostics.pictures.thinning import Row
from indexer.diagnostics.pictures.view import View, layer, once

_LABELLED = 8  # points; more labels would lie on one another
_UNKNOWN = "without a category"


def plane(view: View) -> alt.LayerChart:
    """Figure 6: a point for each model, with its intervals."""
    # Both from 0, where all vectors are alike: else a small difference would fill the plane.
    x = alt.X("alignment:Q", title="← alignment, lower is better", scale=alt.Scale(zero=True))
    y = alt.Y("uniformity:Q", title="← uniformity, lower is better", scale=alt.Scale(zero=True))
    shape = alt.Shape("subject:N", scale=alt.Scale(range=list(SHAPES)))
    tips = view.tooltips(name="of", subject="vectors", alignment="alignment", uniformity="uniformity")
    points = layer().mark_point(size=110).encode(x=x, y=y, color=view.colour, shape=shape, tooltip=tips)
    return view.layered(
        _interval(view, "alignment").encode(y=y) if view.has("alignment_low") else None,
        _interval(view, "uniformity").encode(x=x) if view.has("uniformity_low") else None,
        points,
        _labels(x, y) if len(view.rows) <= _LABELLED else None,
    )


def _interval(view: View, field: str) -> Any:
    low, high = f"{field}_low", f"{field}_high"
    if field == "alignment":
        return layer().mark_rule(opacity=0.6).encode(x=alt.X(f"{low}:Q"), x2=high, color=view.colour)
    return layer().mark_rule(opacity=0.6).encode(y=alt.Y(f"{low}:Q"), y2=high, color=view.colour)


def _labels(x: alt.X, y: alt.Y) -> Any:
    text = layer().mark_text(dx=9, dy=-9, align="left", color=INK)
    return text.encode(x=x, y=y, text="name:N")


def scatter(view: View) -> alt.LayerChart:
    """A map: a colour for each of the most frequent categories, a shape for each kind. A legend's entry singles out.

    Points of one kind have a shape for each category.
    """
    kind = "group" if view.has("group") else "subject"
    colour = "category" if view.has("category") else kind
    domain = _domain(view, colour)
    shape = kind if len(_domain(view, kind)) > 1 else colour
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    points = layer().mark_point(size=45, aria=False, opacity=0.75)
    points = points.encode(
        x=alt.X("x:Q", title=view.chart.x, axis=axis, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", title=view.chart.y, axis=axis, scale=alt.Scale(zero=False)),
        color=alt.Color(f"{colour}:N", scale=alt.Scale(domain=domain, range=colours_of(domain))),
        shape=alt.Shape(f"{shape}:N", scale=_shapes(_domain(view, shape))),
        tooltip=view.tooltips(label="what", subject="kind", category="category", group="group"),
    )
    return view.layered(_singled_out(points, colour) if view.interactive else points)


def _domain(view: View, field: str) -> list[str]:
    """The values of a field that have a colour, and `OTHER` last."""
    values = [str(row.get(field)) for row in view.rows]
    return [*most_frequent(values), *([OTHER] if OTHER in values else [])]


def _shapes(domain: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(domain), range=list(SHAPES[: len(domain)]))


def _singled_out(points: Any, field: str) -> Any:
    """The points, those of a clicked entry of the legend alone."""
    single = alt.selection_point(fields=[field], bind="legend", name="single")
    return points.encode(opacity=alt.condition(single, alt.value(0.75), alt.value(0.08))).add_params(single)


def with_frequent_categories(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with the categories that have a colour; the others are `OTHER`."""
    if not any("category" in row for row in rows):
        return rows
    categories = [str(row.get("category", _UNKNOWN)) for row in rows]
    frequent = {*most_frequent(categories)}
    drawn = [
        {**row, "category": category}
        if category in frequent
        else {**row, "category": OTHER, "label": f"{row['label']} ({category})"}
        for row, category in zip(rows, categories, strict=True)
    ]
    return sorted(drawn, key=_is_coloured)


def _is_coloured(row: Row) -> bool:
    """A key by which grey points are drawn first, below the others."""
    return bool(row["category"] != OTHER)


def reliability(view: View) -> alt.LayerChart:
    """What was observed against what was predicted, with the diagonal on which they are equal."""
    high = max([1.0, *(row[field] for row in view.rows for field in ("predicted", "observed", "high") if field in row)])
    scale = alt.Scale(domain=[0, high], nice=False)
    x = alt.X("predicted:Q", title=view.chart.x or "predicted", scale=scale)
    y = alt.Y("observed:Q", title=view.chart.y or "observed", scale=scale)
    tips = view.tooltips(name="of", predicted="predicted", observed="observed", low="from", high="to", count="examples")
    size = alt.Size("count:Q", scale=alt.Scale(range=[30, 250]), legend=None)
    points = layer().mark_point()
    diagonal = once().mark_rule(strokeDash=[4, 4], color=INK, opacity=0.7)
    return view.layered(
        diagonal.encode(x=alt.datum(0), y=alt.datum(0), x2=alt.datum(high), y2=alt.datum(high)),
        layer().mark_line().encode(x=x, y=y, color=view.colour, strokeDash=view.dash),
        layer().mark_rule(opacity=0.6).encode(x=x, y=alt.Y("low:Q"), y2="high", color=view.colour)
        if view.has("low")
        else None,
        points.encode(x=x, y=y, color=view.colour, size=size, tooltip=tips)
        if view.has("count")
        else points.encode(x=x, y=y, color=view.colour, tooltip=tips),
    )
