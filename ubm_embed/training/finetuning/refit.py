"""Training once more, with the validation part, for as long as validation found best.

A shop's newest sessions choose the weights, and so nothing is learned from them. As `refit` in scikit-learn's searches,
this trains the same start with the same settings on both parts. There is nothing left to validate with: it takes the
steps up to the best validation, with those that were thrown away when the cooldown began, and the learning rate falls
over the last of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetuner import Finetuner, epoch_steps
from ubm_embed.training.finetuning.objectives import Objective
from ubm_embed.training.run import TrainingRun


@dataclass(frozen=True)
class StepsFound:
    """What training with validation found out about steps.

    Attributes:
        best: the step of the best validation; 0 where training only made the model worse.
        per_epoch: of an epoch of its training part.
        warmup: in which the learning rate rose.
    """

    best: int
    per_epoch: int
    warmup: float

    @classmethod
    def from_finetuner(cls, tuner: Finetuner) -> Self:
        """Of a fine-tuning that has ended."""
        warmup = tuner.config.warmup * tuner.max_steps
        return cls(tuner.best.step, tuner.epoch_steps, warmup)


def refit(
    objective: Objective,
    dataset: TaskDataset,
    config: FinetuningConfig,
    found: StepsFound,
    run: TrainingRun | None = None,
    progress: Progress = silent,
) -> int:
    """Train an objective for as many epochs as had been taken when validation was best; returns the number of steps.

    Args:
        objective: untrained.
        dataset: has the validation part in its training part.
        run: gets the metrics, after those of the first training.

    Raises:
        QualityGateFailed: a loss or its gradient is not finite.
    """
    per_epoch = epoch_steps(objective, dataset, config)
    steps = max(1, round(found.best * per_epoch / found.per_epoch))
    schedule = {"epochs": 1 + steps // per_epoch, "max_steps": steps, "warmup": min(found.warmup / steps, 0.99)}
    config = config.model_copy(update=schedule)
    tuner = Finetuner(objective, dataset, config, progress, refit=True)
    tuner.train_without_validation(run)
    return steps
