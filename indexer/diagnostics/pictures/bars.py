"""Charts of bars: histograms, and figures by group (figure 5)."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import altair as alt

from indexer.diagnostics.pictures.palette import INK
from indexer.diagnostics.pictures.thinning import Row
from indexer.diagnostics.pictures.view import View, layer

_NEW_LINE = "\n"  # within a label of an axis; texts of rows have none
_AXES: dict[str, Any] = {"x": alt.X, "y": alt.Y}
_OFFSETS: dict[str, Any] = {"x": alt.XOffset, "y": alt.YOffset}
_SHORT, _FEW = 9, 12  # characters of a group's label and groups that stand side by side under upright bars


def histogram(view: View) -> alt.LayerChart:
    """Counts by bin; several names are drawn over one another."""
    bar = layer().mark_bar(opacity=0.9 if len(view.names) < 2 else 0.5, stroke=INK, strokeWidth=0.5)
    return view.layered(
        bar.encode(
            x=alt.X("low:Q", title=view.chart.x or None, scale=alt.Scale(zero=False)),
            x2="high",
            y=_counts(view),
            y2=alt.datum(0),
            color=view.colour,
            tooltip=view.tooltips(name="of", low="from", high="to", count="count"),
        )
    )


def _counts(view: View) -> alt.Y:
    title = view.chart.y or "count"
    if not view.chart.logarithmic:
        return alt.Y("count:Q", title=title, stack=None)
    highest = max(row["count"] for row in view.rows)
    powers = alt.Axis(values=[0, *(10**power for power in range(len(str(highest))))])
    # A bin may be empty, and the logarithm of 0 is not a number.
    scale = alt.Scale(type="symlog")
    return alt.Y("count:Q", title=f"{title}, on a logarithmic scale", scale=scale, axis=powers, stack=None)


def bars(view: View) -> alt.LayerChart:
    """A bar for each name in each group: upright where the groups' labels are short, else lying."""
    groups = [*dict.fromkeys(row["group"] for row in view.rows)]
    upright = _stands_upright({line for group in groups for line in group.split(_NEW_LINE)}, len(groups))
    sides, value = _sides(view, groups, "x" if upright else "y"), "y" if upright else "x"
    tips = view.tooltips(name="of", group=view.chart.x or "group", value="value", low="from", high="to", count="count")
    heights = {value: _AXES[value]("value:Q", title=view.chart.y or None)}
    ends = {value: _AXES[value]("low:Q"), f"{value}2": "high"}
    return view.layered(
        layer().mark_bar(opacity=0.9).encode(**sides, **heights, color=view.colour, tooltip=tips),
        layer().mark_rule(color=INK, strokeWidth=1.5).encode(**sides, **ends) if view.has("low") else None,
        reference_on=value,
    )


def _sides(view: View, groups: Sequence[str], channel: str) -> dict[str, Any]:
    """The channel along which groups stand, and within a group the names."""
    labels = alt.Axis(labelAngle=0, labelLimit=240, labelExpr=r"split(datum.label, '\n')", grid=False)
    sides: dict[str, Any] = {channel: _AXES[channel]("group:N", title=view.chart.x or None, sort=groups, axis=labels)}
    if len(view.names) > 1:
        sides[f"{channel}Offset"] = _OFFSETS[channel]("name:N", sort=list(view.names))
    return sides


def _stands_upright(lines: Set[str], groups: int) -> bool:
    """Whether the lines of the labels fit beside one another."""
    return groups <= _FEW and max(map(len, lines)) <= _SHORT


def with_counts(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with the examples of a group beside its label, if all names have as many there."""
    counts: dict[str, set[Any]] = {}
    for row in rows:
        counts.setdefault(str(row["group"]), set()).add(row.get("count"))
    separator = _NEW_LINE if _stands_upright(counts.keys(), len(counts)) else ": "
    same = all(len(values) == 1 and None not in values for values in counts.values())
    return [
        {**row, "group": f"{row['group']}{separator}{row['count']:,}" if same else str(row["group"])} for row in rows
    ]
