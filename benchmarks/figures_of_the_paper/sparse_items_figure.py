"""Figure 5 (section 4.5): next item prediction by the target's number of occurrences in training, against SR-GNN.

The paper draws the improvement over SR-GNN. A ratio to almost 0 says nothing, so the upper panel shows hit@10 and the
lower one the difference to SR-GNN.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures_of_the_paper.canvas import COLOURS, GREY, panels
from benchmarks.quality.table_view import OURS, numbered_notes, row_label, subject
from ubm_embed.errors import InvalidData

METRIC = "hit@10"
BASELINE = "SR-GNN"
_CAPTION_WIDTH = 110  # characters
_BEST_OF = {"ours": 1, "id": 2, "text": 2, "simple": 1}


def numbers(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the picture of a table's report.

    Raises:
        InvalidData: no row is SR-GNN with bands, or the rows have different bands.
    """
    rows = [row for row in report["rows"] if row["bands"]]
    if BASELINE not in [row["row"] for row in rows]:
        raise InvalidData(f"expected a row {BASELINE!r} with bands")
    selected = _select(rows)
    bands = _bands(rows[0])
    different = [row["row"] for row in selected if _bands(row) != bands]
    if different:
        raise InvalidData(f"expected the same bands in every row, those of {', '.join(different)} are different")
    baseline = next(_values(row) for row in selected if row["row"] == BASELINE)
    return {
        "title": f"Figure 5: {METRIC} by how often the target was seen in training\n{subject(report)}",
        "metric": METRIC,
        "baseline": BASELINE,
        "bands": bands,
        "models": [_model(row, baseline) for row in selected],
        "left_out": [row["row"] for row in rows if row not in selected],
    }


def _select(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """UBM, the baseline and the best rows of each group, one for each colour. UBM comes first."""
    names = {OURS, BASELINE}
    for group, count in _BEST_OF.items():
        others = [row for row in rows if row["group"] == group and row["row"] not in names]
        others.sort(key=lambda row: -row["metrics"][METRIC]["value"])
        names |= {row["row"] for row in others[:count]}
    selected = sorted((row for row in rows if row["row"] in names), key=lambda row: row["row"] != OURS)
    assert len(selected) <= len(COLOURS), "a colour for each"
    return selected


def _bands(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Reports from before 1.0 count "questions".
    return [{"label": band["label"], "questions": band.get("examples", band.get("questions"))} for band in row["bands"]]


def _values(row: Mapping[str, Any]) -> list[float | None]:
    """The metric of each band; None for a band without questions."""
    return [band["metrics"].get(METRIC) for band in row["bands"]]


def _model(row: Mapping[str, Any], baseline: Sequence[float | None]) -> dict[str, Any]:
    values = _values(row)
    differences = [
        None if value is None or base is None else value - base for value, base in zip(values, baseline, strict=True)
    ]
    return {**{key: row[key] for key in ("row", "group", "note")}, "values": values, "differences": differences}


def draw(figures: Mapping[str, Any]) -> Figure:
    """The picture of these numbers."""
    figure, grid = panels(figures["title"], 2, height=3.0, share_x=True)
    upper, lower = grid[:, 0]
    _bars(upper, figures["models"], "values")
    _bars(lower, figures["models"], "differences", without=figures["baseline"])
    upper.set_ylabel(figures["metric"])
    lower.set_ylabel(f"{figures['metric']} − that of {figures['baseline']}")
    lower.axhline(0, color="black", linewidth=0.8)
    bands = figures["bands"]
    lower.set_xticks(range(len(bands)), [f"{band['label']}\n{band['questions']:,} questions" for band in bands])
    lower.set_xlabel("\n".join(_caption(figures)))
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _bars(axes: Axes, models: Sequence[Mapping[str, Any]], key: str, without: str | None = None) -> None:
    width, notes = 0.84 / len(models), numbered_notes(models)
    colours = iter(colour for colour in COLOURS if colour != GREY)
    for number, model in enumerate(models):
        if model["row"] == without:
            continue
        colour = GREY if model["row"] == BASELINE else next(colours)
        shift = (number - (len(models) - 1) / 2) * width
        bars = [(band + shift, value) for band, value in enumerate(model[key]) if value is not None]
        axes.bar(
            [x for x, _ in bars],
            [height for _, height in bars],
            width * 0.92,
            color=colour,
            label=row_label(model, notes),
        )
    axes.grid(axis="y", linewidth=0.4)
    axes.tick_params(axis="x", length=0)


def _caption(figures: Mapping[str, Any]) -> Iterator[str]:
    yield "occurrences of the target in training"
    if figures["left_out"]:
        left_out = ", ".join(figures["left_out"])
        yield from textwrap.wrap(f"the best rows of each group; left out: {left_out}", _CAPTION_WIDTH)
    yield from (f"{number} {note}" for note, number in numbered_notes(figures["models"]).items())
