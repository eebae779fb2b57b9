"""The section on calibration: whether the predictions of fine-tuned heads can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.diagnostics.answers.head_predictions import HeadPredictions, HeadReport
from indexer.diagnostics.answers.lengths import length_report
from indexer.diagnostics.answers.purchases import purchase_report
from indexer.diagnostics.report import Section
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.folder import ModelFolder
from ubm_embed.progress import Progress, silent


def calibration_section(
    models: Sequence[ModelFolder],
    corpus: Corpus,
    settings: DiagnosisSettings,
    progress: Progress = silent,
    *,
    device: str = "auto",
) -> Section:
    """Section "calibration".

    Args:
        models: with a head for purchase intention or remaining length, one of each at most.

    Raises:
        InvalidData: a model has no head, or a damaged one.
        ValueError: two models for one task.
    """
    tasks = [model.config.task for model in models]
    if len({*tasks}) < len(tasks):
        raise ValueError(f"expected one model for each task, got models for {', '.join(map(str, tasks))}")
    reports, notes = list[HeadReport](), list[str]()
    for number, model in enumerate(models):
        progress("comparing predictions with outcomes", number, len(models))
        predictor = Predictor.from_checkpoint(model, device=device)
        try:
            predictions = HeadPredictions.measure(predictor, model, corpus, settings)
        except InvalidData as error:
            notes.append(f"{predictor.task} could not be measured: {error.problem}")
            continue
        if not np.isfinite(predictions.values).all():
            raise InvalidData(f"the head for {predictor.task} predicts what is no number", file=model.path)
        report_of = purchase_report if predictor.task is Task.PIP else length_report
        reports.append(report_of(predictions, settings))
        notes += _notes(predictions)
    progress("comparing predictions with outcomes", len(models), len(models))
    return Section(
        name="calibration",
        title="Calibration of predictions",
        metrics=tuple(metric for report in reports for metric in report.metrics),
        charts=tuple(chart for report in reports for chart in report.charts),
        findings=tuple(finding for report in reports for finding in report.findings),
        notes=(*notes, *(note for report in reports for note in report.notes)),
    )


def _notes(predictions: HeadPredictions) -> list[str]:
    sample = predictions.sample
    notes = [f"{predictions.task}: {predictions.outcomes.size:,} sessions, drawn from {sample.rule}"]
    if not sample.unseen:
        notes.append(f"{predictions.task}: training may have read these sessions, and a head looks better on them")
    return notes
