"""The loop of pre-training: take a step, log it, save the state.

A step's random numbers come from (seed, stage, step) alone, so that a run that was cut off goes on to the same weights.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ubm_embed.data.arrays import IntArray
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import Progress, silent
from ubm_embed.training.encoding import CHUNK_TOKENS, Encoding
from ubm_embed.training.metrics_file import FAILED
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.losses import batch_losses
from ubm_embed.training.pretraining.stages import Stage, batches, stage_steps
from ubm_embed.training.pretraining.step_metrics import geometry, negatives
from ubm_embed.training.pretraining.views import Views
from ubm_embed.training.processes import ALONE, Processes
from ubm_embed.training.run import REMEDY, TrainingRun
from ubm_embed.training.step import learning_rate, take_step

Item = TypeVar("Item")
Value = TypeVar("Value")


class Pretrainer:
    """Trains a model through the stages, one step after the other."""

    def __init__(
        self,
        model: UserBehaviorModel,
        stages: list[Stage],
        run: TrainingRun,
        config: PretrainingConfig,
        progress: Progress = silent,
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.stages, self.run, self.config, self.progress = model, stages, run, config, progress
        self.processes = processes

    def train(self) -> None:
        """Train to the end, from the last saved state where there is one."""
        state = self.processes.on_rank_zero(self.run.load)
        if state is not None:
            self.model.load_state_dict(state["model"])
        for stage in self.stages:
            if state is None or state["stage"] == stage.number:
                self._train_stage(stage, state)
                state = None

    def _train_stage(self, stage: Stage, state: dict[str, Any] | None) -> None:
        optimizer = optimizer_of(self.model, self.config)
        first = 0
        if state is not None:
            first = state["step"]
            optimizer.load_state_dict(state["optimizer"])
        total = stage_steps(stage, self.config)
        self.model.train()

        def read(batch: tuple[int, IntArray]) -> Views:
            step, chosen = batch
            return stage.views(chosen, np.random.default_rng([self.config.seed, stage.number, step]))

        started = time.monotonic()
        for (step, chosen), views in read_ahead(read, batches(stage, self.config, first)):
            try:
                record = self._step(stage, optimizer, step, total, views)
            except QualityGateFailed as error:
                self._log({"stage": stage.number, "step": step + 1, "steps": total, FAILED: str(error)})
                raise
            seconds = time.monotonic() - started
            rates = {"examples_per_second": chosen.size / seconds, "tokens_per_second": views.num_tokens / seconds}
            self._report(record | rates)
            started = time.monotonic()
            if (step + 1) % self.config.checkpoint_steps == 0 and step + 1 < total:
                self._save(stage.number, step + 1, optimizer)
        self._save(stage.number, total, optimizer)

    def _step(
        self, stage: Stage, optimizer: torch.optim.Optimizer, step: int, total: int, views: Views
    ) -> dict[str, Any]:
        """Take one step; returns its line of the metrics."""
        vectors = stage.encode(self.model, views, self._encoding(stage, step))
        losses = batch_losses(vectors, views, self.config)
        loss = torch.stack(list(losses.values())).sum()
        rate = learning_rate(step, total, peak=self.config.learning_rate_of(stage.number), warmup=self.config.warmup)
        norm = take_step(
            self.model,
            optimizer,
            loss,
            rate=rate,
            max_gradient_norm=self.config.max_gradient_norm,
            name=f"stage {stage.number}, step {step + 1}",
            details=lambda: ", ".join(f"{name} {value.item():g}" for name, value in losses.items()),
            remedy=REMEDY,
            processes=self.processes,
        )
        return {
            "stage": stage.number,
            "step": step + 1,
            "steps": total,
            "loss": loss.item(),
            **{name: value.item() for name, value in losses.items()},
            **geometry(vectors.detach(), views),
            **negatives(views, positive_in_denominator=self.config.positive_in_denominator),
            "learning_rate": rate,
            "gradient_norm": norm,
        }

    def _log(self, record: dict[str, Any]) -> None:
        if self.processes.is_rank_zero:
            self.run.log(record)

    def _report(self, record: dict[str, Any]) -> None:
        self._log(record)
        if self.processes.is_rank_zero:
            note = f"loss {record['loss']:.3f}, uniformity {record['uniformity']:.2f}"
            self.progress(f"pre-training, stage {record['stage']}", record["step"], record["steps"], note)

    def _encoding(self, stage: Stage, step: int) -> Encoding:
        return Encoding(
            chunk_tokens=self.config.chunk_tokens or CHUNK_TOKENS[self.model.device.type],
            precision=self.config.precision,
            seeds=(self.config.seed, stage.number, step),
            processes=self.processes,
        )

    def _save(self, stage: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        state = {"stage": stage, "step": step, "model": self.model.state_dict(), "optimizer": optimizer.state_dict()}
        self.processes.on_rank_zero(lambda: self.run.save(state))


def read_ahead(read: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[tuple[Item, Value]]:
    """Each item with what `read` makes of it, in order; a thread reads the next one while the caller works on this one.

    What `read` raises is raised when its item is due.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        waiting: deque[tuple[Item, Future[Value]]] = deque()
        for item in items:
            waiting.append((item, thread.submit(read, item)))
            if len(waiting) > 1:
                ready, value = waiting.popleft()
                yield ready, value.result()
        for item, value in waiting:
            yield item, value.result()


def optimizer_of(model: nn.Module, config: PretrainingConfig) -> torch.optim.AdamW:
    """AdamW over all weights, the same for both stages; each step sets its own learning rate."""
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
