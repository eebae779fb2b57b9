"""How well one model answered the questions of a task: figures, how sure they are, and for which products they hold.

Letters: E questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.tasks.examples import Examples, Task
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.evaluation.intervals import bootstrap_intervals
from ubm_embed.evaluation.significance import paired_p_values
from ubm_embed.evaluation.sparsity import FrequencyBand, by_frequency
from ubm_embed.evaluation.task_metrics import length_metrics, purchase_metrics, ranking_metrics

# Of scikit-learn's classification metrics, a round of 10,000 questions takes 20 ms.
_ROUNDS = {Task.NIP: 1000, Task.PIP: 300, Task.RLP: 500}
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One row of a table.

    Attributes:
        name: of the model.
        metrics: of the task (4.1.2), by name.
        intervals: 95% of the bootstrap, low and high, by metric.
        p_values: of a paired test against the model that the table is about, by metric; None for that one itself.
        bands: NIP, the metrics by how often training saw the answer (4.5).
    """

    name: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    p_values: Mapping[str, float] | None = None
    bands: tuple[FrequencyBand, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        questions: Questions,
        examples: Examples,
        answers: NDArray[Any],
        *,
        threshold: float = 0.5,
        against: NDArray[Any] | None = None,
        against_threshold: float = 0.5,
        seed: int = 0,
    ) -> Self:
        """Judge the answers to these examples.

        Args:
            answers: [E] ranks of the targets (NIP), probabilities of a purchase (PIP) or lengths (RLP).
            threshold: PIP, a probability above it is a yes.
            against: [E] the answers of the model that the table is about, and its threshold.
        """
        task, targets, rounds = questions.task, examples.targets, _ROUNDS[questions.task]
        answers = _centred(task, answers, threshold)
        p_values = None
        if against is not None:
            theirs = _centred(task, against, against_threshold)
            p_values = paired_p_values(
                lambda swapped: measure(task, targets, swapped), answers, theirs, rounds=rounds, seed=seed
            )
        return cls(
            name=name,
            metrics=measure(task, targets, answers),
            intervals=bootstrap_intervals(
                lambda drawn: measure(task, targets[drawn], answers[drawn]), len(examples), rounds=rounds, seed=seed
            ),
            p_values=p_values,
            bands=tuple(by_frequency(answers, questions.counts[targets])) if task is Task.NIP else (),
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


def measure(task: Task, targets: NDArray[Any], answers: NDArray[Any]) -> dict[str, float]:
    """The metrics of a task (4.1.2). Probabilities above one half are a yes."""
    match task:
        case Task.NIP:
            return ranking_metrics(answers)
        case Task.PIP:
            return purchase_metrics(targets, answers)
        case Task.RLP:
            return length_metrics(targets.astype(np.float32), answers)


def _centred(task: Task, answers: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Probabilities on a scale where each model's own threshold is one half, so that answers of two can be swapped."""
    if task is not Task.PIP:
        return answers
    odds = answers.astype(np.float64) * (1 - threshold)
    return odds / (odds + (1 - answers.astype(np.float64)) * threshold)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), _DIGITS) for name, value in values.items()}
