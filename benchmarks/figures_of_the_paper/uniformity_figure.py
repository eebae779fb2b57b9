"""Figure 6 (section 4.6): alignment against uniformity of each model's session embeddings, a panel for each task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures_of_the_paper.canvas import COLOURS, MARKERS, add_labels, panels
from benchmarks.quality.table_view import TASKS, data_of, numbered_notes, row_label
from ubm_embed.errors import InvalidData

# Group -> its name in the legend; colours and markers follow this order.
GROUPS = {"ours": "UBM and its variants", "text": "text encoders", "id": "item ids", "simple": "simple"}


def panel(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one panel: each row of a table's report that has both measures.

    Raises:
        InvalidData: no row has both, or a row's group is unknown.
    """
    points = [
        {key: row[key] for key in ("row", "group", "note", "alignment", "uniformity")}
        for row in report["rows"]
        if _is_finite(row.get("alignment")) and _is_finite(row.get("uniformity"))
    ]
    if not points:
        raise InvalidData("expected a row with alignment and uniformity")
    unknown = sorted({point["group"] for point in points} - GROUPS.keys())
    if unknown:
        raise InvalidData(f"expected rows of the groups {', '.join(GROUPS)}, found {', '.join(unknown)}")
    return {"task": report["settings"]["task"], "questions": report["questions"], "points": points}


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def numbers(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of the picture of these reports of one data set, in their order."""
    data = data_of(reports[0]["settings"])
    return {
        "title": f"Figure 6: alignment and uniformity of session embeddings\n{data}",
        "panels": [panel(report) for report in reports],
    }


def draw(figures: Mapping[str, Any]) -> Figure:
    """The picture of these numbers."""
    tasks = figures["panels"]
    figure, grid = panels(figures["title"], len(tasks), height=3.4)
    for axes, task in zip(grid[:, 0], tasks, strict=True):
        _scatter(axes, task)
    notes = numbered_notes([point for task in tasks for point in task["points"]])
    last = grid[-1, 0]
    last.set_xlabel("\n".join([last.get_xlabel(), *(f"{number} {note}" for note, number in notes.items())]))
    handles = {handle.get_label(): handle for axes in grid[:, 0] for handle in axes.collections}
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=len(handles))
    for axes, task in zip(grid[:, 0], tasks, strict=True):
        points = task["points"]
        add_labels(axes, [_position(point) for point in points], [row_label(point, notes) for point in points])
    return figure


def _scatter(axes: Axes, task: Mapping[str, Any]) -> None:
    for (group, label), colour, marker in zip(GROUPS.items(), COLOURS, MARKERS, strict=False):
        positions = [_position(point) for point in task["points"] if point["group"] == group]
        if positions:
            x, y = zip(*positions, strict=True)
            axes.scatter(x, y, s=42, color=colour, marker=marker, label=label)
    axes.margins(0.12, 0.16)
    axes.grid(linewidth=0.4)
    name = TASKS.get(task["task"], task["task"])
    axes.set_title(f"{name}, {task['questions']:,} questions", loc="left")
    axes.set_xlabel("← alignment, lower is better")
    # The text is rotated, so this arrow points down.
    axes.set_ylabel("← uniformity, lower is better")


def _position(point: Mapping[str, Any]) -> tuple[float, float]:
    return point["alignment"], point["uniformity"]
