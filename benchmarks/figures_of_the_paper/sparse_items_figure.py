"""Figure 5 (section 4.5): next item prediction by how often the target was seen in training, against SR-GNN.

The paper draws the improvement over SR-GNN. Near 0 a ratio says nothing, so the upper panel has hit@10 itself and the
lower one its difference to that of SR-GNN.
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
    """What the picture of a table's report shows.

    Raises:
        InvalidData: there is no SR-GNN with bands, or the rows have different bands.
    """
    rows = [row for row in report["rows"] if row["bands"]]
    if BASELINE not in [row["row"] for row in rows]:
        raise InvalidData(f"expected a row {BASELINE!r} with bands")
    shown = _chosen(rows)
    bands = _bands(rows[0])
    different = [row["row"] for row in shown if _bands(row) != bands]
    if different:
        raise InvalidData(f"expected the same bands in every row, those of {', '.join(different)} are others")
    baseline = next(_values(row) for row in shown if row["row"] == BASELINE)
    return {
        "title": f"Figure 5: {METRIC} by how often the target was seen in training\n{subject(report)}",
        "metric": METRIC,
        "baseline": BASELINE,
        "bands": bands,
        "models": [_model(row, baseline) for row in shown],
        "left_out": [row["row"] for row in rows if row not in shown],
    }


def _chosen(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """UBM, the baseline and the best of each group beside them: as many as there are colours. UBM first."""
    names = {OURS, BASELINE}
    for group, most in _BEST_OF.items():
        others = [row for row in rows if row["group"] == group and row["row"] not in names]
        others.sort(key=lambda row: -row["metrics"][METRIC]["value"])
        names |= {row["row"] for row in others[:most]}
    chosen = sorted((row for row in rows if row["row"] in names), key=lambda row: row["row"] != OURS)
    assert len(chosen) <= len(COLOURS), "a colour for each"
    return chosen


def _bands(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{key: band[key] for key in ("label", "questions")} for band in row["bands"]]


def _values(row: Mapping[str, Any]) -> list[float | None]:
    """By band; None where it holds no question."""
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


def _bars(axes: Axes, models: Sequence[Mapping[str, Any]], of: str, without: str | None = None) -> None:
    width, notes = 0.84 / len(models), numbered_notes(models)
    colours = iter(colour for colour in COLOURS if colour != GREY)
    for place, model in enumerate(models):
        if model["row"] == without:
            continue
        colour = GREY if model["row"] == BASELINE else next(colours)
        shift = (place - (len(models) - 1) / 2) * width
        there = [(band + shift, value) for band, value in enumerate(model[of]) if value is not None]
        heights = [value for _, value in there]
        axes.bar([x for x, _ in there], heights, width * 0.92, color=colour, label=row_label(model, notes))
    axes.grid(axis="y", linewidth=0.4)
    axes.tick_params(axis="x", length=0)


def _caption(figures: Mapping[str, Any]) -> Iterator[str]:
    yield "how often the target was seen in training"
    if figures["left_out"]:
        left_out = ", ".join(figures["left_out"])
        yield from textwrap.wrap(f"of each group the best; left out: {left_out}", _CAPTION_WIDTH)
    yield from (f"{number} {note}" for note, number in numbered_notes(figures["models"]).items())
