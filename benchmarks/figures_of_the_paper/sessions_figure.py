"""Figure 4 (section 4.3): the embeddings of example sessions by each model, in two dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.figures_of_the_paper.canvas import COLOURS, GREY, MARKERS, add_labels, panels
from benchmarks.quality.table_view import data_of
from ubm_embed.errors import InvalidData

OTHER = "other categories"
_COLUMNS = 2
_FEW = 8  # sessions up to this number are labelled with their ids


def numbers(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a report's picture.

    Raises:
        InvalidData: there is nothing to draw, a model has more or fewer points than there are sessions, or there are
            more groups than markers.
    """
    sessions = report["sessions"]
    if not sessions or not report["models"]:
        raise InvalidData("expected sessions and a model's points for them")
    groups = len({session["group"] for session in sessions})
    if groups > len(MARKERS):
        raise InvalidData(f"expected at most {len(MARKERS)} groups of sessions, found {groups}")
    title = "Figure 4: example sessions in two dimensions, as each model embeds them"
    return {
        "title": f"{title}\n{data_of(report['settings'])}, {len(sessions):,} sessions",
        "panels": [_panel(model, report) for model in report["models"]],
    }


def _panel(model: str, report: Mapping[str, Any]) -> dict[str, Any]:
    coordinates, sessions = report["models"][model], report["sessions"]
    if len(coordinates) != len(sessions):
        raise InvalidData(f"expected {len(sessions)} points of {model}, one for each session, found {len(coordinates)}")
    points = [
        {**{key: session[key] for key in ("session_id", "group", "category")}, "x": x, "y": y}
        for session, (x, y) in zip(sessions, coordinates, strict=True)
    ]
    return {"model": model, "separation": report.get("separation", {}).get(model), "points": points}


def draw(figures: Mapping[str, Any]) -> Figure:
    """The picture of these numbers."""
    models = figures["panels"]
    columns = min(_COLUMNS, len(models))
    figure, grid = panels(figures["title"], -(-len(models) // columns), columns, height=4.2)
    points = models[0]["points"]
    colours = _colours(point["category"] for point in points)
    markers = dict(zip(dict.fromkeys(point["group"] for point in points), MARKERS, strict=False))
    for axes, model in zip(grid.flat, models, strict=False):
        _scatter(axes, model, colours, markers)
    for axes in grid.flat[len(models) :]:
        axes.set_axis_off()
    figure.legend(handles=_legend(colours, markers), loc="outside lower center", ncols=3)
    if len(points) <= _FEW:
        for axes, model in zip(grid.flat, models, strict=False):
            points = model["points"]
            add_labels(axes, [(point["x"], point["y"]) for point in points], [point["session_id"] for point in points])
    return figure


def _colours(categories: Iterable[str]) -> dict[str, str]:
    """A colour for each of the most frequent categories, ties in order of occurrence; the others are grey."""
    frequent = [category for category, _ in Counter(categories).most_common()]
    available = COLOURS[: COLOURS.index(GREY)]
    colours = dict(zip(frequent, available, strict=False))
    return {**colours, OTHER: GREY} if len(frequent) > len(available) else colours


def _scatter(axes: Axes, model: Mapping[str, Any], colours: Mapping[str, str], markers: Mapping[str, str]) -> None:
    for group, marker in markers.items():
        points = [point for point in model["points"] if point["group"] == group]
        colour = [colours.get(point["category"], GREY) for point in points]
        x, y = [point["x"] for point in points], [point["y"] for point in points]
        axes.scatter(x, y, s=44, c=colour, marker=marker, label=group, alpha=0.85, linewidths=0)
    separation = model["separation"]
    axes.set_title(model["model"] if separation is None else f"{model['model']}, separation {separation:.2f}")
    axes.margins(0.12)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])  # directions and units of this plane have no meaning
    for side in axes.spines.values():
        side.set(visible=True, color=GREY)


def _legend(colours: Mapping[str, str], markers: Mapping[str, str]) -> list[Artist]:
    """Groups by marker, in a colour that no category has, then categories by colour."""
    shapes = [
        Line2D([], [], linestyle="none", marker=marker, color="#555555", label=group, markersize=7)
        for group, marker in markers.items()
    ]
    return [*shapes, *(Patch(color=colour, label=category) for category, colour in colours.items())]
