"""The real training loop, observed: how long each step takes, what it reads, and how much memory it needs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.training.flops import StepSize, synchronize
from benchmarks.training.step_variants import encoded, lengths_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrainer import Pretrainer
from ubm_embed.training.pretraining.stages import Stage
from ubm_embed.training.pretraining.views import Views
from ubm_embed.training.run import TrainingRun


class ObservedRun(TrainingRun):
    """A run that writes nothing to disk and notes when each step ended."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(Path())
        self._device, self.step_ends = device, list[float]()

    def log(self, record: Mapping[str, Any]) -> None:
        """Note the end of a step."""
        synchronize(self._device)
        self.step_ends.append(time.perf_counter())

    def save(self, state: Mapping[str, Any]) -> None:
        """Write nothing."""

    def load(self) -> None:
        """Load nothing."""


class ObservedStage:
    """A stage that notes for each step how long reading took and what it read."""

    def __init__(self, stage: Stage, size: StepSize) -> None:
        self._stage, self._size = stage, size
        self.steps = list[dict[str, Any]]()

    @property
    def number(self) -> int:
        """1 or 2."""
        return self._stage.number

    @property
    def batch_size(self) -> int:
        """Examples a step."""
        return self._stage.batch_size

    def epoch(self, rng: np.random.Generator) -> IntArray:
        """The examples of one epoch."""
        return self._stage.epoch(rng)

    def views(self, chosen: IntArray, rng: np.random.Generator) -> Views:
        """The batch of these examples."""
        started = time.perf_counter()
        views = self._stage.views(chosen, rng)
        reading = time.perf_counter() - started
        flops = self._size.step(*lengths_of(views))
        self.steps.append({"examples": chosen.size, "reading_seconds": reading, **encoded(views), "flops": flops})
        return views

    def encode(self, *arguments: Any) -> Tensor:
        """The vectors of a batch."""
        return self._stage.encode(*arguments)


def observe(model: UserBehaviorModel, stage: Stage, config: PretrainingConfig) -> dict[str, Any]:
    """Train one stage; its `steps` and, on a GPU, the `peak_bytes` that PyTorch allocated.

    A step's `seconds` run from the end of the previous step to its own: forward, backward, optimizer, logging and what
    is left of reading, which runs ahead in a thread; `reading_seconds` is all of it.
    """
    device = model.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    run, observed = ObservedRun(device), ObservedStage(stage, StepSize.from_model(model, cls_only=True))
    synchronize(device)
    started = time.perf_counter()
    Pretrainer(model, [observed], run, config).train()
    for step, seconds in zip(observed.steps, np.diff([started, *run.step_ends]), strict=True):
        step["seconds"] = float(seconds)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"steps": observed.steps, "peak_bytes": peak}
