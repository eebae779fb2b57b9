"""One view of a chart: its rows, and the parts that charts of all kinds have in common.

Altair builds layers without data: the rows are added to the specification by the name of the view's dataset, since
Altair takes seconds to look through some thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from indexer.diagnostics.pictures.palette import COLOURS, DASHES, INK
from indexer.diagnostics.pictures.thinning import Row
from indexer.diagnostics.report import Chart


@dataclass(frozen=True)
class View:
    """What to draw.

    Attributes:
        chart: all of it.
        rows: those of this view.
        names: in the order in which they occur.
        title: of the view, if the chart has several.
        interactive: whether it stands in a page.
    """

    chart: Chart
    rows: Sequence[Row]
    names: Sequence[str]
    title: str = ""
    interactive: bool = False

    @property
    def dataset(self) -> str:
        """The name that the specification gives to the rows."""
        return f"rows of {self.title}" if self.title else "rows"

    def has(self, field: str) -> bool:
        """Whether a row has the field."""
        return any(field in row for row in self.rows)

    @property
    def colour(self) -> alt.Color | alt.ColorValue:
        """The colour of a row's name; one colour if there is one name."""
        if len(self.names) < 2:
            return alt.ColorValue(COLOURS[0])
        return alt.Color("name:N", scale=alt.Scale(domain=list(self.names), range=list(COLOURS)))

    @property
    def dash(self) -> alt.StrokeDash | alt.StrokeDashValue:
        """The dashes of a row's name, for print."""
        if len(self.names) < 2:
            return alt.StrokeDashValue([1, 0])
        return alt.StrokeDash("name:N", scale=alt.Scale(domain=list(self.names), range=[*map(list, DASHES)]))

    def tooltips(self, **titles: str) -> list[alt.Tooltip]:
        """What is shown of a row on hover: these fields, if there are such."""
        numbers = {field: isinstance(row[field], float) for row in self.rows for field in row}
        return [
            alt.Tooltip(f"{field}:{'Q' if numbers[field] else 'N'}", title=title, format=".4~g")
            if numbers[field]
            else alt.Tooltip(f"{field}:N", title=title)
            for field, title in titles.items()
            if field in numbers
        ]

    def layered(self, *layers: alt.Chart | None, reference_on: str = "y") -> alt.LayerChart:
        """The layers, and the chart's line to compare with, over the rows."""
        present = [layer for layer in (*layers, self._reference(reference_on)) if layer is not None]
        properties: dict[str, Any] = {"title": alt.TitleParams(self.title, frame="group")} if self.title else {}
        return alt.LayerChart(layer=present, data=alt.NamedData(self.dataset), **properties)

    def _reference(self, channel: str) -> Any:
        if self.chart.reference is None:
            return None
        rule = once().mark_rule(strokeDash=[4, 4], color=INK, opacity=0.7)
        return rule.encode(**{channel: alt.datum(self.chart.reference)})


def once() -> alt.Chart:
    """A layer that is drawn once, not once for each row."""
    return alt.Chart(alt.InlineData(values=[{}]))


def layer() -> alt.Chart:
    """A layer over the rows of the view that it becomes part of."""
    return alt.Chart()
