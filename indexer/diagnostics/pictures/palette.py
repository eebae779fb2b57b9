"""Colours, shapes, dashes and the look of all charts: for colour-blind readers, for paper, light and dark.

`INK` is the colour of text around a picture. A page says it once in its style sheet, for light, for dark and for
print; in a PNG it is black.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

INK = "currentColor"
GREY = "#999999"
# Okabe and Ito's palette, without its yellow, which is faint on white. Blue first: most charts have one colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", INK)
# One more than colours: the last is of `OTHER`.
SHAPES = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
# Fewer than colours, so that the eighth line differs from the first by its dashes.
DASHES = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [1, 4])
OTHER = "other"  # all but the most frequent; grey
FONT = "system-ui, 'DejaVu Sans', sans-serif"

_TEXT = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
CONFIG: Mapping[str, Any] = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "domainColor": INK,
        "tickColor": INK,
        "gridColor": INK,
        "gridOpacity": 0.15,
        "domainOpacity": 0.5,
        # Vega moves the outermost labels inwards otherwise, onto their neighbours.
        "labelFlush": False,
        "labelSeparation": 8,
    },
    "axisXQuantitative": {"labelOverlap": "greedy"},
    "legend": {
        **_TEXT,
        "orient": "bottom",
        "columns": 3,
        "labelLimit": 190,
        "symbolLimit": 12,
        "title": None,
        "symbolFillColor": INK,
        "symbolOpacity": 1,
    },
    "title": {"color": INK, "subtitleColor": INK, "anchor": "start", "fontSize": 14, "subtitleFontSize": 12},
    "text": {"color": INK, "fontSize": 12},
    "rule": {"color": INK},
    "bar": {"color": COLOURS[0]},
    "line": {"color": COLOURS[0]},
    "point": {"color": COLOURS[0], "filled": True, "size": 70, "opacity": 0.9},
}


def most_frequent(values: Iterable[str]) -> list[str]:
    """Distinct values, at most one for each colour: as they occur, or if there are more the most frequent first."""
    counts = Counter(value for value in values if value != OTHER)
    return [*counts] if len(counts) <= len(COLOURS) else [value for value, _ in counts.most_common(len(COLOURS))]


def colours_of(names: Iterable[str]) -> list[str]:
    """A colour for each name; grey for the others."""
    return [GREY if name == OTHER else colour for name, colour in zip(names, (*COLOURS, GREY), strict=False)]
