"""What all pictures share: size, colours, fonts, labels that do not overlap, and saving.

Pictures are 900 pixels wide at 100 dots per inch and saved at 150. They depend on no window system and no user
settings, so equal numbers give equal pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ubm_embed.outputs import output_file

# Okabe and Ito's palette for colour-blind readers, with grey in place of its yellow, which is faint on white.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#999999")
GREY = COLOURS[-1]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH = 9.0

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.dpi": 150,
}
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (7, 16, 26, 38, 52, 68)  # points
_CLEARANCE = 4.0  # pixels that labels leave free around a data point
_ALIGNMENT = {1: "left", 0: "center", -1: "right"}
_VERTICAL = {1: "bottom", 0: "center", -1: "top"}


@contextmanager
def style() -> Iterator[None]:
    """The style of all pictures; draw and save inside this context."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def panels(title: str, rows: int, columns: int = 1, *, height: float, share_x: bool = False) -> tuple[Figure, Any]:
    """An empty picture and its grid of axes, an array [rows, columns]; `height` is that of a row, in inches."""
    figure = Figure(figsize=(WIDTH, rows * height + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=share_x)


def save(figure: Figure, file: Path) -> None:
    """Write a PNG atomically, without the date and software that it was made with."""
    with output_file(file) as aside:
        figure.savefig(aside, format="png", metadata={"Software": None})


def add_labels(axes: Axes, points: Sequence[tuple[float, float]], labels: Sequence[str], *, size: float = 9) -> None:
    """Label each point as near to it as possible, without covering a point or another label.

    Each label takes the first free one of a few positions. Call this last, when the layout is final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    pixels = [(float(x), float(y)) for x, y in axes.transData.transform(list(points))]
    taken = [Bbox([[x - _CLEARANCE, y - _CLEARANCE], [x + _CLEARANCE, y + _CLEARANCE]]) for x, y in pixels]
    scale = figure.dpi / 72
    for point, pixel, label in zip(points, pixels, labels, strict=True):
        extent = _extent(axes, label, size)
        positions = [
            (way, distance, _box(pixel, extent, way, distance * scale))
            for distance, way in itertools.product(_DISTANCES, _DIRECTIONS)
        ]
        way, distance, box = next((one for one in positions if _is_free(one[2], taken, axes.bbox)), positions[0])
        taken.append(box)
        _annotate(axes, label, point, way, distance, size)


def _extent(axes: Axes, label: str, size: float) -> tuple[float, float]:
    """Width and height of a label in pixels."""
    text = axes.text(0, 0, label, fontsize=size)
    box = text.get_window_extent()
    text.remove()
    return box.width, box.height


def _box(pixel: tuple[float, float], extent: tuple[float, float], way: tuple[int, int], distance: float) -> Bbox:
    """The box of a label at this distance from its point, in pixels."""
    low = [at + step * distance - size * (1 - step) / 2 for at, step, size in zip(pixel, way, extent, strict=True)]
    return Bbox.from_bounds(low[0], low[1], *extent)


def _is_free(box: Bbox, taken: Iterable[Bbox], within: Any) -> bool:
    inside = within.x0 <= box.x0 and box.x1 <= within.x1 and within.y0 <= box.y0 and box.y1 <= within.y1
    return inside and not any(box.overlaps(other) for other in taken)


def _annotate(
    axes: Axes, label: str, point: tuple[float, float], way: tuple[int, int], distance: float, size: float
) -> None:
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3}
    note = axes.annotate(
        label,
        point,
        xytext=(way[0] * distance, way[1] * distance),
        textcoords="offset points",
        ha=_ALIGNMENT[way[0]],
        va=_VERTICAL[way[1]],
        fontsize=size,
        arrowprops=line if distance > _DISTANCES[0] else None,
    )
    note.set_in_layout(False)
