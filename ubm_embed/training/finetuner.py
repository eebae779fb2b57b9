"""The loop of fine-tuning (paper 4.2.2): step, look at the validation part, keep the best.

A step's random numbers come from (seed, step) and an epoch's examples from (seed, epoch) alone, so that a run that was
cut off goes on to the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ubm_embed.data.questions import Questions
from ubm_embed.data.tasks import Examples
from ubm_embed.errors import InvalidData
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning_config import FinetuningConfig
from ubm_embed.training.objectives import Objective
from ubm_embed.training.precision import autocast
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.schedule import learning_rate
from ubm_embed.training.step import take_step


@dataclass
class Best:
    """The best look so far.

    Attributes:
        step: after which it was; 0 is before any.
        validation_loss: there.
        looks: since then.
    """

    step: int = 0
    validation_loss: float = math.inf
    looks: int = 0


class Finetuner:
    """Trains an objective, looks at the validation part, and leaves the objective with its best weights.

    Raises:
        InvalidData: the questions cannot be posed, or nothing of the objective is to be trained.
    """

    def __init__(
        self,
        objective: Objective,
        questions: Questions,
        config: FinetuningConfig,
        progress: Progress = silent,
    ) -> None:
        assert isinstance(objective, nn.Module)
        self.module, self.objective = objective, objective
        self.questions, self.config, self.progress = questions, config, progress
        self.run: TrainingRun | None = None
        self.validation = questions.validation(most=config.most_validation, seed=config.seed)
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        if not weights:
            raise InvalidData("the model has no session layers, and nothing else is to be trained")
        self.device = weights[0].device
        self.optimizer = torch.optim.AdamW(
            weights, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.best, self.best_weights = Best(), deepcopy(self.module.state_dict())

    def train(self, run: TrainingRun | None = None) -> Best:
        """Train to the end, or until it no longer gains.

        Args:
            run: keeps the state on disk, after each look; None for a run that need not survive.

        Raises:
            QualityGateFailed: a loss or its gradient is not finite.
        """
        self.run = run
        first, (total, every) = self._resume(), self._steps()
        if not first:
            self._look(0)  # a model that training only spoils is given back as it was
        for step, examples in self._batches(first, total):
            if self.config.patience is not None and self.best.looks >= self.config.patience:
                break  # asked here, so that a run that was cut off after its last look stops there too
            self._step(step, total, examples)
            if (step + 1) % every == 0 or step + 1 == total:
                self._look(step + 1)
                self._keep(step + 1)
        self.module.load_state_dict(self.best_weights)
        self.module.eval()
        return self.best

    def _steps(self) -> tuple[int, int]:
        """All steps, and those between two looks."""
        epoch = max(1, len(self._epoch(0)) // self.config.batch)
        total = min(self.config.epochs * epoch, self.config.max_steps or self.config.epochs * epoch)
        return total, self.config.validation_steps or epoch

    def _epoch(self, epoch: int) -> Examples:
        return self.questions.training(np.random.default_rng([self.config.seed, 4, epoch]))

    def _batches(self, first: int, total: int) -> Iterator[tuple[int, Examples]]:
        step, epoch, size = 0, 0, self.config.batch
        while step < total:
            examples = self._epoch(epoch)
            for batch in range(max(1, len(examples) // size)):
                if first <= step < total:
                    yield step, examples.take(np.arange(batch * size, min(len(examples), (batch + 1) * size)))
                step += 1
            epoch += 1

    def _step(self, step: int, total: int, examples: Examples) -> None:
        started = time.monotonic()
        rng = np.random.default_rng([self.config.seed, 5, step])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout's
        self.module.train()
        with autocast(self.device, self.config.precision):
            loss = self.objective.loss(examples, rng)
        rate = learning_rate(step, total, peak=self.config.learning_rate, warmup=self.config.warmup)
        norm = take_step(
            self.module,
            self.optimizer,
            loss,
            rate=rate,
            max_gradient_norm=self.config.max_gradient_norm,
            where=f"step {step + 1}",
        )
        self._log(
            step=step + 1,
            steps=total,
            loss=loss.item(),
            learning_rate=rate,
            gradient_norm=norm,
            examples_per_second=len(examples) / (time.monotonic() - started),
        )
        note = f"loss {loss.item():.3f}, validation {self.best.validation_loss:.3f} at step {self.best.step}"
        self.progress(f"fine-tuning, {self.config.task}", step + 1, total, note)

    @torch.no_grad()
    def _look(self, step: int) -> None:
        self.module.eval()
        rng = np.random.default_rng([self.config.seed, 6])  # the same sample at every look
        size, count = max(256, self.config.batch), len(self.validation)
        total = 0.0
        for start in range(0, count, size):
            part = self.validation.take(np.arange(start, min(start + size, count)))
            total += self.objective.loss(part, rng).item() * len(part)
        loss = total / count
        self._log(step=step, validation_loss=loss)
        if loss < self.best.validation_loss:
            self.best, self.best_weights = Best(step, loss), deepcopy(self.module.state_dict())
        else:
            self.best.looks += 1

    def _log(self, **record: Any) -> None:
        if self.run is not None:
            self.run.log(record)

    def _keep(self, step: int) -> None:
        if self.run is not None:
            self.run.save(
                {
                    "step": step,
                    "model": self.module.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "best": asdict(self.best),
                    "best_weights": self.best_weights,
                }
            )

    def _resume(self) -> int:
        """The step to go on from."""
        state = self.run.load() if self.run is not None else None
        if state is None:
            return 0
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.best_weights = Best(**state["best"]), state["best_weights"]
        return int(state["step"])
