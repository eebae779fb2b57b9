"""The section of a report on a training run: curves, how far it came, and what it warns of."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.diagnostics.report import Better, Chart, ChartKind, Metric, Section, Table
from indexer.diagnostics.training_run.run_log import RunLog, StageLog
from indexer.diagnostics.training_run.verdicts import SECTION, findings, words
from ubm_embed.progress import Progress, silent

# The panels of the chart, and the curves in each; losses, whose names the log brings, are the first panel.
_PANELS = {
    "gradient norm": ("gradient_norm",),
    "learning rate": ("learning_rate",),
    "candidates of an example": ("candidates",),
    "masked false negatives": ("num_masked",),
    "examples per second": ("examples_per_second",),
    "alignment and uniformity": ("alignment", "uniformity"),
    "validation hit@10": ("validation_hit_at_10",),
}


def run_section(folder: Path, progress: Progress = silent) -> Section:
    """The section "training" of a run: unfinished, in `OUT.training`, or finished, in its model folder.

    Raises:
        NotFound: the folder holds no metrics.
        InvalidData: they are damaged, or no step was logged.
    """
    run = RunLog.read(folder, progress)
    return Section(
        name=SECTION,
        title="Training",
        metrics=tuple(_metrics(run.stages[-1])) if run.stages else (),
        tables=(_stages(run),),
        charts=(_chart(run),),
        findings=tuple(findings(run)),
        notes=tuple(_notes(run)),
    )


def _metrics(stage: StageLog) -> Iterator[Metric]:
    steps = f"the last tenth of {stage.steps:,} steps"
    if loss := stage.curve("loss"):
        meaning = "the loss at the end; well below that of a model that knows nothing"
        yield _metric("final_loss", loss.part(0.9, 1).mean, steps, Better.LOWER, meaning)
        trend = loss.part(0.75, 1).mean - loss.part(0.5, 0.75).mean
        meaning = "mean loss of the last quarter less that of the quarter before; near 0, more steps would gain little"
        yield _metric("loss_trend", trend, f"{stage.steps:,} steps", None, meaning)
    for name, key, better, meaning in (
        ("training_alignment", "alignment", Better.LOWER, "mean squared distance of positive pairs, 0 to 4"),
        (
            "training_uniformity",
            "uniformity",
            Better.LOWER,
            "how evenly the batches spread: near 0 all vectors are alike; below -2 is healthy",
        ),
        ("candidates", "candidates", Better.HIGHER, "candidates among which an example is to be found"),
    ):
        if curve := stage.curve(key):
            yield _metric(name, curve.part(0.9, 1).mean, steps, better, meaning)
    if stage.clipped is not None:
        meaning = "share of the steps whose gradient was clipped, which is most of them with contrastive losses"
        yield _metric("clipped_share", stage.clipped / stage.steps, f"{stage.steps:,} steps", None, meaning)
    if (share := _masked(stage)) is not None:
        meaning = "share of the negatives that were masked as false ones; near 1, a batch has few distinct products"
        yield _metric("masked_share", share, f"{stage.steps:,} steps", None, meaning)
    if curve := stage.curve("examples_per_second"):
        speed = statistics.median(curve.means())
        yield _metric("examples_per_second", speed, f"{stage.steps:,} steps", Better.HIGHER, "median throughput")


def _metric(name: str, value: float, measured_on: str, better: Better | None, meaning: str) -> Metric:
    return Metric(name=name, value=value, measured_on=measured_on, better=better, meaning=meaning)


def _masked(stage: StageLog) -> float | None:
    """The share of the negatives that were masked; None if they were not counted."""
    negatives, masked = stage.curve("negatives"), stage.curve("num_masked")
    if negatives is None or masked is None:
        return None
    counts = negatives.part(0, 1).mean, masked.part(0, 1).mean
    return counts[1] / sum(counts) if sum(counts) else None


def _stages(run: RunLog) -> Table:
    columns = ("stage", "steps", "of", "loss at first", "loss at the end", "loss without knowledge", "uniformity")
    return Table("stages", "How far each part of the run came.", columns, [_row(stage) for stage in run.stages])


def _row(stage: StageLog) -> list[Any]:
    loss, uniformity = stage.curve("loss"), stage.curve("uniformity")
    chances = [stage.chance(name) for name in stage.losses]
    chance = sum(filter(None, chances)) if None not in chances else None
    return [
        stage.title if stage.number is None else stage.number,
        stage.steps,
        stage.planned,
        loss.part(0, 0.1).mean if loss else None,
        loss.part(0.9, 1).mean if loss else None,
        chance,
        uniformity.part(0.9, 1).mean if uniformity else None,
    ]


def _chart(run: RunLog) -> Chart:
    borders = (f"; {stage.title} begins at step {stage.first:,}" for stage in run.stages[1:])
    return Chart(
        name="training_curves",
        kind=ChartKind.CURVES,
        title=f"Training, step by step{''.join(borders)}",
        rows=[row for stage in run.stages for row in _rows(stage)],
        good="losses fall and level off, uniformity falls below -2, and the gradient norm has no growing spikes",
        remedy="a loss that rises, or uniformity that climbs towards 0: lower `--learning-rate` and start over with "
        "`--restart`. A loss that does not fall: raise `--learning-rate`",
        x="step",
    )


def _rows(stage: StageLog) -> Iterator[dict[str, Any]]:
    for panel, names in {"loss": (*stage.losses, "validation_loss"), **_PANELS}.items():
        for name in names:
            if curve := stage.curve(name):
                yield from ({"panel": panel, "name": words(name), "x": x, "y": y} for x, y in curve.points())


def _notes(run: RunLog) -> Iterator[str]:
    if not run.finished and run.stages:
        stage = run.stages[-1]
        yield f"the run is unfinished: {stage.steps:,} of {stage.planned:,} steps of its last stage are logged"
    if any(stage.chance(name) is None for stage in run.stages for name in stage.losses):
        yield "older software wrote this log: losses are not compared with that of a model that knows nothing"
