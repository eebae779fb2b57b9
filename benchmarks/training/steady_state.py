"""The training loop as it is, watched: how long each of its steps takes, what it reads and what memory it wants."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.training.ceiling import wait
from benchmarks.training.step_flops import StepSize
from benchmarks.training.training_form import encoded, lengths_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrainer import Pretrainer
from ubm_embed.training.pretraining.stages import Stage
from ubm_embed.training.pretraining.views import Views
from ubm_embed.training.run import TrainingRun


class WatchedRun(TrainingRun):
    """Keeps nothing on disk; notes when each step was done."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(Path())
        self._device, self.ends = device, list[float]()

    def log(self, record: Mapping[str, Any]) -> None:
        """A step is done."""
        wait(self._device)
        self.ends.append(time.perf_counter())

    def save(self, state: Mapping[str, Any]) -> None:
        """Not kept."""

    def load(self) -> None:
        """Nothing was kept."""


class WatchedStage:
    """A stage that notes, step by step, how long reading took and what was read."""

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


def watch(model: UserBehaviorModel, stage: Stage, config: PretrainingConfig) -> dict[str, Any]:
    """Train one stage as `config` says; its `steps` and, on a GPU, the `peak_bytes` that were allocated.

    A step's `seconds` are from the end of the one before to its own: reading, forward, backward, optimizer, and what
    the loop notes of it.
    """
    device = model.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    run, watched = WatchedRun(device), WatchedStage(stage, StepSize.of(model, heads_alone=True))
    wait(device)
    started = time.perf_counter()
    Pretrainer(model, [watched], run, config).train()
    for step, seconds in zip(watched.steps, np.diff([started, *run.ends]), strict=True):
        step["seconds"] = float(seconds)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"steps": watched.steps, "peak_bytes": peak}
