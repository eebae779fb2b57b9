"""Charts as Vega-Lite, and which rows of a chart they draw."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from indexer.diagnostics.pictures.charts import picture, specs
from indexer.diagnostics.pictures.thinning import MAX_TEXT, thinned
from indexer.diagnostics.report import Chart, ChartKind
from tests.indexer.diagnostics.pictures.made_up import ROWS, chart


def rows_of(chart: Chart, limit: int = 1000) -> list[list[dict[str, Any]]]:
    """The rows of each view."""
    views = [[*spec["datasets"].values()] for spec in specs(chart, limit)]
    return [max(datasets, key=len) for datasets in views]


@pytest.mark.parametrize("kind", ChartKind)
def test_every_kind_is_valid_vega_lite(kind: ChartKind) -> None:
    spec = picture(chart(kind), 1000)  # checked by Altair
    assert spec is not None
    json.dumps(spec, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ChartKind.PLANE, {"name", "subject", "alignment", "uniformity"}),
        (ChartKind.MAP, {"x", "y", "subject", "label"}),
        (ChartKind.BARS, {"name", "group", "value"}),
        (ChartKind.RELIABILITY, {"name", "predicted", "observed", "count"}),
        (ChartKind.TIMELINE, {"panel", "version", "created", "value"}),
        (ChartKind.HISTOGRAM, {"low", "high", "count"}),
    ],
)
def test_fields_that_may_be_missing_may_be(kind: ChartKind, fields: set[str]) -> None:
    rows = [{field: row[field] for field in fields} for row in ROWS[kind]]
    assert picture(chart(kind, rows=rows), 1000) is not None


@pytest.mark.parametrize("kind", [ChartKind.MAP, ChartKind.CURVES])
def test_a_panel_is_a_view(kind: ChartKind) -> None:
    views = specs(chart(kind), 1000)
    assert len(views) == 2
    assert views[0]["title"]["text"] in ("by category", "loss")
    assert sum(map(len, rows_of(chart(kind)))) == len(ROWS[kind])


def test_a_view_has_the_legend_of_what_it_shows() -> None:
    rows = [
        {"panel": panel, "name": name, "x": step, "y": step}
        for panel, names in (("loss", ("train", "validation")), ("rate", ("learning rate",)))
        for name in names
        for step in range(3)
    ]
    losses, rate = specs(chart(ChartKind.CURVES, rows=rows), 100)
    assert losses["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["train", "validation"]
    assert "scale" not in rate["layer"][0]["encoding"]["color"]


def test_points_of_one_kind_have_a_shape_for_each_category() -> None:
    rows = [{"x": row, "y": row, "subject": "session", "label": "", "category": f"c{row % 2}"} for row in range(4)]
    (view,) = specs(chart(ChartKind.MAP, rows=rows), 100)
    assert view["layer"][0]["encoding"]["shape"]["field"] == "category"
    (view,) = specs(chart(ChartKind.MAP, rows=[*rows, rows[0] | {"subject": "product"}]), 100)
    assert view["layer"][0]["encoding"]["shape"]["field"] == "subject"


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_counts_are_on_the_scale_that_the_chart_asks_for(is_logarithmic: bool) -> None:
    (view,) = specs(chart(ChartKind.HISTOGRAM, logarithmic=is_logarithmic), 100)
    y = view["layer"][0]["encoding"]["y"]
    assert ("logarithmic" in y["title"]) is is_logarithmic
    if is_logarithmic:
        assert y["axis"]["values"] == [0, 1, 10, 100, 1000, 10_000, 100_000]


def test_categories_beyond_the_colours_are_one_and_named_in_the_label() -> None:
    rows = [
        {"x": 0.0, "y": 0.0, "subject": "product", "label": f"p{row}", "category": f"c{min(row, 8)}"}
        for row in range(9)
        for _ in range(9 - row)
    ]
    (drawn,) = rows_of(chart(ChartKind.MAP, rows=rows))
    assert {row["category"] for row in drawn} == {*(f"c{number}" for number in range(7)), "other"}
    assert [row["label"] for row in drawn if row["category"] == "other"] == ["p7 (c7)"] * 2 + ["p8 (c8)"]


def test_a_map_keeps_its_limit_and_a_curve_its_peak() -> None:
    points = [{"x": row, "y": row, "subject": "product", "label": ""} for row in range(1000)]
    assert len(thinned(chart(ChartKind.MAP, rows=points), 100)) == 100
    steps = [{"panel": "loss", "name": "train", "x": row, "y": 99.0 if row == 777 else 1.0} for row in range(10_000)]
    curve = thinned(chart(ChartKind.CURVES, rows=steps), 100)
    assert len(curve) <= 100
    assert {"panel": "loss", "name": "train", "x": 777, "y": 99.0} in curve
    assert [row["x"] for row in curve] == sorted(row["x"] for row in curve)


def test_what_cannot_be_drawn_is_left_out_and_texts_are_short_lines() -> None:
    row = {"name": "a\u2028b\n\tc \ud83d", "group": "x" * 500, "value": math.nan, "low": None, "high": math.inf}
    (drawn,) = thinned(chart(ChartKind.BARS, rows=[row]), 10)
    assert drawn == {"name": "a b c ?", "group": f"{'x' * (MAX_TEXT - 1)}…"}
