"""One model's metrics on a task: their values, how sure they are, and how they depend on the target's frequency.

Letters: E examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.task import Task
from ubm_embed.evaluation.intervals import bootstrap_intervals
from ubm_embed.evaluation.ranking import ranking_metrics
from ubm_embed.evaluation.significance import paired_p_values
from ubm_embed.evaluation.sparsity import FrequencyBand, by_frequency
from ubm_embed.evaluation.task_metrics import length_metrics, purchase_metrics, three_guesses

# One round takes 0.6 ms of CPU for 10,000 examples of PIP, 1.3 ms for those of RLP.
ROUNDS: Mapping[Task, int] = {Task.NIP: 1000, Task.PIP: 1000, Task.RLP: 500}
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """One row of a table.

    Attributes:
        name: of the model.
        metrics: of the task (4.1.2), by name.
        intervals: 95% of the bootstrap, low and high, by metric.
        p_values: of a paired test against the reference model, by metric; None for that one itself.
        bands: NIP, the metrics by how often training saw the target (4.5).
    """

    name: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    p_values: Mapping[str, float] | None = None
    bands: tuple[FrequencyBand, ...] = ()

    @classmethod
    def from_predictions(
        cls,
        name: str,
        dataset: TaskDataset,
        examples: TaskExamples,
        predictions: NDArray[Any],
        *,
        threshold: float = 0.5,
        reference: NDArray[Any] | None = None,
        reference_threshold: float = 0.5,
        rounds: int | None = None,
        seed: int = 0,
    ) -> Self:
        """Measure predictions for these examples.

        Args:
            predictions: [E] ranks of the targets (NIP), probabilities of a purchase (PIP) or lengths (RLP), which may
                also be [E, 3], as `length_metrics` takes them.
            threshold: PIP, a purchase is predicted above it.
            reference: [E] predictions of the model to compare with, and its threshold.
            rounds: resamples of the bootstrap and of the test; None is `ROUNDS` of the task.

        Raises:
            ValueError: too few examples, of which most resamples cannot be measured.
        """
        task, targets = dataset.task, examples.targets
        rounds = ROUNDS[task] if rounds is None else rounds
        predictions = _comparable(task, predictions, threshold)
        p_values = None
        if reference is not None:
            theirs = _comparable(task, reference, reference_threshold)
            p_values = paired_p_values(
                lambda swapped: measure(task, targets, swapped), predictions, theirs, rounds=rounds, seed=seed
            )
        return cls(
            name=name,
            metrics=measure(task, targets, predictions),
            intervals=bootstrap_intervals(
                lambda drawn: measure(task, targets[drawn], predictions[drawn]),
                len(examples),
                rounds=rounds,
                seed=seed,
            ),
            p_values=p_values,
            bands=tuple(by_frequency(predictions, dataset.counts[targets])) if task is Task.NIP else (),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON: each metric with its interval."""
        return {
            "row": self.name,
            "metrics": {
                name: _rounded({"value": value, "low": self.intervals[name][0], "high": self.intervals[name][1]})
                for name, value in self.metrics.items()
            },
            "p_values": None if self.p_values is None else _rounded(self.p_values),
            "bands": [{**band.to_dict(), "metrics": _rounded(band.metrics)} for band in self.bands],
        }


def measure(task: Task, targets: NDArray[Any], predictions: NDArray[Any]) -> dict[str, float]:
    """The metrics of a task (4.1.2). A probability above one half predicts a purchase."""
    match task:
        case Task.NIP:
            return ranking_metrics(predictions)
        case Task.PIP:
            return purchase_metrics(targets, predictions)
        case Task.RLP:
            return length_metrics(targets.astype(np.float32), predictions)


def _comparable(task: Task, predictions: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Predictions that can be swapped with another model's.

    Probabilities are on a scale that puts each model's threshold at one half; lengths have three guesses each.
    """
    if task is Task.RLP:
        return three_guesses(predictions)
    if task is not Task.PIP:
        return predictions
    odds = predictions.astype(np.float64) * (1 - threshold)
    return odds / (odds + (1 - predictions.astype(np.float64)) * threshold)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), _DIGITS) for name, value in values.items()}
