"""The loop of fine-tuning (paper 4.2.2): take a step, validate every so often, keep the best weights.

The learning rate rises, and then falls to 0 over all steps; or it stays at its peak until validation improves no more,
and falls to 0 from the best weights, over a share of the steps taken so far (`cooldown`; Hu et al. 2024, MiniCPM,
section 4), so that training finds out by itself how many steps a shop needs.

A step's random numbers come from (seed, step) alone and an epoch's examples from (seed, epoch) alone, so that a run
that was cut off goes on to the same weights.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TargetSequences, TaskExamples
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.device import autocast
from ubm_embed.model.pooled_interactions import PooledInteractions
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.best import Best
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.objectives import Objective
from ubm_embed.training.finetuning.optimizer import adamw
from ubm_embed.training.metrics_file import FAILED
from ubm_embed.training.run import REMEDY, TrainingRun
from ubm_embed.training.step import learning_rate, take_step

# An evaluation costs about as much as this many steps.
_MIN_VALIDATION_STEPS = 10


class Finetuner:
    """Trains an objective, validates it, and leaves it with its best weights.

    Args:
        refit: this is a second training in the same log.

    Raises:
        InvalidData: the objective has no weights to train.
    """

    def __init__(
        self,
        objective: Objective,
        dataset: TaskDataset,
        config: FinetuningConfig,
        progress: Progress = silent,
        *,
        refit: bool = False,
    ) -> None:
        assert isinstance(objective, nn.Module)
        self.module, self.objective = objective, objective
        self.dataset, self.config, self.progress = dataset, config, progress
        self.refit = refit
        self.run: TrainingRun | None = None
        self.optimizer = adamw(self.module, config)
        self.device = next(self.module.parameters()).device
        self.best = Best()
        self.best_weights: dict[str, Tensor] = {}
        self.latest_metrics: dict[str, float] = {}
        self.readers = [part for part in self.module.modules() if isinstance(part, PooledInteractions)]
        self.cooldown_start: int | None = None

    def train(self, run: TrainingRun | None = None) -> Best:
        """Train to the last step, or until patience runs out.

        Args:
            run: saves the state on disk after each validation; None for a run that need not survive.

        Raises:
            InvalidData: the validation part is too small.
            QualityGateFailed: a loss or its gradient is not finite.
        """
        self.run, self.best_weights = run, deepcopy(self.module.state_dict())
        step = self._resume()
        if not step:
            self._validate(0)  # a model that training only makes worse is given back as it was
        examples = self._examples(step)
        while step < self._end(step):
            self._step(step, next(examples))
            step += 1
            if step % self.validation_steps == 0 or step >= self._end(step):
                self._validate(step)
                self._start_cooldown(step)
                self._save(step)
        self.module.load_state_dict(self.best_weights)
        self.module.eval()
        return self.best

    def train_without_validation(self, run: TrainingRun | None = None) -> None:
        """Train to the last step, whose weights stay. The run gets the metrics; nothing is saved on the way.

        Raises:
            QualityGateFailed: a loss or its gradient is not finite.
        """
        self.run = run
        for step, examples in zip(range(self.max_steps), self._examples(0), strict=False):
            self._step(step, examples)
        self.module.eval()

    @cached_property
    def validation(self) -> TaskExamples:
        """The examples that choose the weights."""
        return self.dataset.validation(max_examples=self.config.max_validation_examples, seed=self.config.seed)

    @cached_property
    def epoch_steps(self) -> int:
        """The number of steps of an epoch."""
        return epoch_steps(self.objective, self.dataset, self.config)

    @cached_property
    def max_steps(self) -> int:
        """The limit of steps."""
        steps = self.config.epochs * self.epoch_steps
        return min(steps, self.config.max_steps or steps)

    @cached_property
    def validation_steps(self) -> int:
        """The number of steps between two validations."""
        epoch, steps = self.epoch_steps, self.config.validation_steps or self.epoch_steps
        return min(steps, max(epoch, _MIN_VALIDATION_STEPS)) if self.config.validate_each_epoch else steps

    @property
    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.best.evals_since_improvement >= self.config.patience

    @property
    def _latest_cooldown_start(self) -> int:
        """The step from which the rate falls at the latest: the cooldown then ends with the last step."""
        return math.ceil(self.max_steps / (1 + (self.config.cooldown or 0.0)))

    def _start_cooldown(self, step: int) -> None:
        """Start the cooldown where patience has run out, from the best weights: the steps since then gained nothing."""
        if self.config.cooldown is None or self.cooldown_start is not None or not self._out_of_patience:
            return
        if step < self._latest_cooldown_start:
            self.cooldown_start = step
            self.module.load_state_dict(self.best_weights)

    def _end(self, step: int) -> int:
        """The step at which training ends, as far as is known before this step is taken."""
        if self.config.cooldown is None:
            return step if self._out_of_patience else self.max_steps
        if self.cooldown_start is None:
            return self.max_steps
        return min(self.max_steps, self.cooldown_start + max(1, round(self.config.cooldown * self.cooldown_start)))

    def _rate(self, step: int) -> float:
        peak, warmup = self.config.learning_rate, self.config.warmup
        if self.config.cooldown is None:
            return learning_rate(step, self.max_steps, peak=peak, warmup=warmup)
        rising = peak * min(1.0, (step + 1) / max(1, round(warmup * self.max_steps)))
        begin = self._latest_cooldown_start if self.cooldown_start is None else self.cooldown_start
        if step < begin:
            return rising
        end = self._end(step)
        return rising * (end - step) / (end - begin + 1)

    def _examples(self, first: int) -> Iterator[TaskExamples | TargetSequences]:
        """The examples of each step, from step `first` on."""
        for epoch in itertools.count(first // self.epoch_steps):
            examples, size = _epoch(self.objective, self.dataset, self.config, epoch), self.config.batch
            for batch in range(first % self.epoch_steps, self.epoch_steps):
                # An epoch of sequences may be shorter than the first, since the part of a long session that is read is
                # drawn; its last examples are then read twice.
                begin = max(0, min(batch * size, len(examples) - size))
                yield examples.take(np.arange(begin, min(len(examples), begin + size)))
            first = 0

    def _step(self, step: int, examples: TaskExamples | TargetSequences) -> None:
        started = time.monotonic()
        rng = np.random.default_rng([self.config.seed, 5, step])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout's
        self.module.train()
        for reader in self.readers:
            reader.start_step(step)
        with autocast(self.device, self.config.precision):
            loss = self.objective.loss(examples, rng)
        rate, end = self._rate(step), self._end(step)
        try:
            norm = take_step(
                self.module,
                self.optimizer,
                loss,
                rate=rate,
                max_gradient_norm=self.config.max_gradient_norm,
                name=f"step {step + 1}",
                remedy="lower the learning rate" if self.run is None else REMEDY,
            )
        except QualityGateFailed as error:
            self._log(step=step + 1, steps=end, **{FAILED: str(error)})
            raise
        self._log(
            step=step + 1,
            steps=end,
            loss=loss.item(),
            **self.objective.step_metrics,
            learning_rate=rate,
            gradient_norm=norm,
            examples_per_second=len(examples) / (time.monotonic() - started),
        )
        note = f"loss {loss.item():.3f}"
        for name, value in self.latest_metrics.items():
            note += f", {name.replace('_', ' ')} {value:.3f}"
        if not self.refit:
            note += f", best at step {self.best.step}"
        name = f"fine-tuning, {self.config.task}" + ", refit" * self.refit
        self.progress(name, step + 1, end, note)

    def _validate(self, step: int) -> None:
        self.module.eval()
        with autocast(self.device, self.config.precision):
            validation = self.objective.validate(self.validation)
        self.latest_metrics = validation.metrics
        self._log(step=step, **validation.metrics)
        before, self.best = self.best, self.best.after(step, validation)
        if self.best.key < before.key:
            self.best_weights = deepcopy(self.module.state_dict())

    def _log(self, **record: Any) -> None:
        if self.run is not None:
            self.run.log(record | {"refit": 1} if self.refit else record)

    def _save(self, step: int) -> None:
        if self.run is not None:
            self.run.save(
                {
                    "step": step,
                    "model": self.module.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "best": asdict(self.best),
                    "latest_metrics": self.latest_metrics,
                    "cooldown_start": self.cooldown_start,
                    "best_weights": self.best_weights,
                }
            )

    def _resume(self) -> int:
        """Load the saved state; returns the step to go on from."""
        state = self.run.load() if self.run is not None else None
        if state is None:
            return 0
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.best_weights = Best(**state["best"]), state["best_weights"]
        self.latest_metrics, self.cooldown_start = state["latest_metrics"], state["cooldown_start"]
        return int(state["step"])


def epoch_steps(objective: Objective, dataset: TaskDataset, config: FinetuningConfig) -> int:
    """The number of steps of an epoch of a dataset."""
    return max(1, len(_epoch(objective, dataset, config, 0)) // config.batch)


def _epoch(
    objective: Objective, dataset: TaskDataset, config: FinetuningConfig, epoch: int
) -> TaskExamples | TargetSequences:
    return objective.epoch(dataset, np.random.default_rng([config.seed, 4, epoch]))
