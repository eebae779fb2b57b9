"""The loop of fine-tuning (paper 4.2.2): step, look at the validation part, keep the best.

The learning rate goes up, and then down to 0 over all steps that were asked for; or it stays until looks gain no more,
and goes down to 0 from the best weights, over a share of the steps there were (`cooldown`; Hu et al. 2024, MiniCPM,
section 4), so that how many steps a shop needs is found while it trains.

A step's random numbers come from (seed, step) and an epoch's examples from (seed, epoch) alone, so that a run that was
cut off goes on to the same weights.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ubm_embed.data.tasks.examples import Examples, Walks
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.errors import InvalidData
from ubm_embed.model.precision import autocast
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.objectives import Look, Objective
from ubm_embed.training.pretraining.schedule import learning_rate
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.step import take_step

# Tables whose rows are looked up: of words, of known texts, of a baseline's items.
_LOOKED_UP = ("word_embeddings.weight", "known.vectors", "items.weight", "tokens.weight")


@dataclass(frozen=True)
class Best:
    """The best look so far.

    Attributes:
        step: after which it was; 0 is before any.
        cost: what was least there.
        least: the least of each part of a cost, at whatever look.
        looks: since any part was that small.
        shown: what the best look showed.
    """

    step: int = 0
    cost: tuple[float, ...] = (math.inf,)
    least: tuple[float, ...] = (math.inf,)
    looks: int = 0
    shown: dict[str, float] = field(default_factory=dict)

    def after(self, step: int, look: Look) -> Best:
        """The best look once there was this one."""
        # The least first: what is not a number is never smaller.
        least = tuple(map(min, self.least + (math.inf,) * len(look.cost), look.cost))
        looks = self.looks + 1 if least == self.least else 0
        if look.cost < self.cost:
            return Best(step, look.cost, least, looks, look.shown)
        return replace(self, least=least, looks=looks)

    def to_dict(self) -> dict[str, Any]:
        """For the training record."""
        return {"step": self.step, "looks": self.looks, **self.shown}


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
        self.optimizer = _optimizer(self.module, config)
        self.device = next(self.module.parameters()).device
        self.best, self.best_weights = Best(), deepcopy(self.module.state_dict())
        self.shown: dict[str, float] = {}
        self.cooling_from: int | None = None

    def train(self, run: TrainingRun | None = None) -> Best:
        """Train to the end, or until it no longer gains.

        Args:
            run: keeps the state on disk, after each look; None for a run that need not survive.

        Raises:
            QualityGateFailed: a loss or its gradient is not finite.
        """
        self.run = run
        step = self._resume()
        if not step:
            self._look(0)  # a model that training only spoils is given back as it was
        examples = self._examples(step)
        while step < self._end(step):
            self._step(step, next(examples))
            step += 1
            if step % self.every == 0 or step >= self._end(step):
                self._look(step)
                self._plan(step)
                self._keep(step)
        self.module.load_state_dict(self.best_weights)
        self.module.eval()
        return self.best

    @cached_property
    def epoch_steps(self) -> int:
        """Steps of an epoch."""
        return max(1, len(self._epoch(0)) // self.config.batch)

    @cached_property
    def most(self) -> int:
        """Steps at most."""
        steps = self.config.epochs * self.epoch_steps
        return min(steps, self.config.max_steps or steps)

    @cached_property
    def every(self) -> int:
        """Steps between two looks."""
        return self.config.validation_steps or self.epoch_steps

    @property
    def _gains_no_more(self) -> bool:
        return self.config.patience is not None and self.best.looks >= self.config.patience

    @property
    def _latest_cooling(self) -> int:
        """The step from which the rate goes down at the latest."""
        return math.ceil(self.most / (1 + (self.config.cooldown or 0.0)))

    def _plan(self, step: int) -> None:
        """Begin to go down after a look that says so, from the best weights: those since then gained nothing."""
        if self.config.cooldown is None or self.cooling_from is not None or not self._gains_no_more:
            return
        if step < self._latest_cooling:
            self.cooling_from = step
            self.module.load_state_dict(self.best_weights)

    def _end(self, step: int) -> int:
        """The step at which it ends, as far as is known before taking this one."""
        if self.config.cooldown is None:
            return step if self._gains_no_more else self.most
        if self.cooling_from is None:
            return self.most
        return min(self.most, self.cooling_from + max(1, round(self.config.cooldown * self.cooling_from)))

    def _rate(self, step: int) -> float:
        peak, warmup = self.config.learning_rate, self.config.warmup
        if self.config.cooldown is None:
            return learning_rate(step, self.most, peak=peak, warmup=warmup)
        rising = peak * min(1.0, (step + 1) / max(1, round(warmup * self.most)))
        begin = self._latest_cooling if self.cooling_from is None else self.cooling_from
        if step < begin:
            return rising
        end = self._end(step)
        return rising * (end - step) / (end - begin + 1)

    def _epoch(self, epoch: int) -> Examples | Walks:
        return self.objective.epoch(self.questions, np.random.default_rng([self.config.seed, 4, epoch]))

    def _examples(self, first: int) -> Iterator[Examples | Walks]:
        """What each step reads, from step `first` on."""
        for epoch in itertools.count(first // self.epoch_steps):
            examples, size = self._epoch(epoch), self.config.batch
            for batch in range(first % self.epoch_steps, self.epoch_steps):
                # Runs are drawn: an epoch of walks may be shorter than the first, and then ends in one batch twice.
                begin = max(0, min(batch * size, len(examples) - size))
                yield examples.take(np.arange(begin, min(len(examples), begin + size)))
            first = 0

    def _step(self, step: int, examples: Examples | Walks) -> None:
        started = time.monotonic()
        rng = np.random.default_rng([self.config.seed, 5, step])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout's
        self.module.train()
        with autocast(self.device, self.config.precision):
            loss = self.objective.loss(examples, rng)
        rate, end = self._rate(step), self._end(step)
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
            steps=end,
            loss=loss.item(),
            learning_rate=rate,
            gradient_norm=norm,
            examples_per_second=len(examples) / (time.monotonic() - started),
        )
        looked = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in self.shown.items())
        note = f"loss {loss.item():.3f}, {looked}, best at step {self.best.step}"
        self.progress(f"fine-tuning, {self.config.task}", step + 1, end, note)

    def _look(self, step: int) -> None:
        self.module.eval()
        with autocast(self.device, self.config.precision):
            look = self.objective.look(self.validation)
        self.shown = look.shown
        self._log(step=step, **look.shown)
        before, self.best = self.best, self.best.after(step, look)
        if self.best.cost < before.cost:
            self.best_weights = deepcopy(self.module.state_dict())

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
                    "shown": self.shown,
                    "cooling_from": self.cooling_from,
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
        self.shown, self.cooling_from = state["shown"], state["cooling_from"]
        return int(state["step"])


def _optimizer(module: nn.Module, config: FinetuningConfig) -> torch.optim.AdamW:
    """AdamW. Vectors that are looked up hear of a few examples a step, and learn by `lookup_rate` times the rate.

    Raises:
        InvalidData: nothing is to be trained.
    """
    looked_up = {id(one) for name, one in module.named_parameters() if name.endswith(_LOOKED_UP)}
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if not weights:
        raise InvalidData("the model has no session layers, and nothing else is to be trained")
    slow = [weight for weight in weights if id(weight) not in looked_up]
    fast = [weight for weight in weights if id(weight) in looked_up]
    groups = [{"params": slow, "rate_factor": 1.0}, {"params": fast, "rate_factor": config.lookup_rate}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
