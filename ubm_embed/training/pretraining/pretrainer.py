"""The loop of pre-training: step, tell of it, keep the state.

A step's random numbers come from (seed, stage, step) alone, so that a run that was cut off goes on to the same weights.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.uniformity import alignment, uniformity
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import Progress, silent
from ubm_embed.training.encoding import CHUNK_TOKENS, Encoding
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.schedule import batches, learning_rate, stage_steps
from ubm_embed.training.pretraining.stages import Stage
from ubm_embed.training.pretraining.view_losses import view_losses
from ubm_embed.training.pretraining.views import Views
from ubm_embed.training.processes import ALONE, Processes
from ubm_embed.training.read_ahead import read_ahead
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.step import take_step

# Vectors whose uniformity is told: all pairs of a batch of thousands would cost more memory than a chunk.
_LOOKED_AT = 2048


class Pretrainer:
    """Runs the stages, one step after the other."""

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
        """Train to the end, from the last kept state where there is one."""
        state = self.processes.first(self.run.load)
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
            record = self._step(stage, optimizer, step, total, views)
            self._tell(record | {"examples_per_second": chosen.size / (time.monotonic() - started)})
            started = time.monotonic()
            if (step + 1) % self.config.checkpoint_steps == 0 and step + 1 < total:
                self._keep(stage.number, step + 1, optimizer)
        self._keep(stage.number, total, optimizer)

    def _step(
        self, stage: Stage, optimizer: torch.optim.Optimizer, step: int, total: int, views: Views
    ) -> dict[str, Any]:
        """Take it; what to tell of it."""
        vectors = stage.encode(self.model, views, self._encoding(stage, step))
        losses = view_losses(vectors, views, self.config)
        loss = torch.stack(list(losses.values())).sum()
        rate = learning_rate(step, total, peak=self.config.peak(stage.number), warmup=self.config.warmup)
        norm = take_step(
            self.model,
            optimizer,
            loss,
            rate=rate,
            max_gradient_norm=self.config.max_gradient_norm,
            where=f"stage {stage.number}, step {step + 1}",
            details=lambda: ", ".join(f"{name} {value.item():g}" for name, value in losses.items()),
            processes=self.processes,
        )
        return {
            "stage": stage.number,
            "step": step + 1,
            "steps": total,
            "loss": loss.item(),
            **{name: value.item() for name, value in losses.items()},
            **_geometry(vectors.detach(), views),
            **_negatives(views),
            "learning_rate": rate,
            "gradient_norm": norm,
        }

    def _tell(self, record: dict[str, Any]) -> None:
        if self.processes.is_first:
            self.run.log(record)
            note = f"loss {record['loss']:.3f}, uniformity {record['uniformity']:.2f}"
            self.progress(f"pre-training, stage {record['stage']}", record["step"], record["steps"], note)

    def _encoding(self, stage: Stage, step: int) -> Encoding:
        return Encoding(
            chunk_tokens=self.config.chunk_tokens or CHUNK_TOKENS[self.model.device.type],
            precision=self.config.precision,
            seeds=(self.config.seed, stage.number, step),
            processes=self.processes,
        )

    def _keep(self, stage: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        if not self.processes.is_first:
            return
        state = {"stage": stage, "step": step, "model": self.model.state_dict(), "optimizer": optimizer.state_dict()}
        self.run.save(state)


def optimizer_of(model: nn.Module, config: PretrainingConfig) -> torch.optim.AdamW:
    """AdamW over all weights, both stages' alike; the schedule sets the rate of each step."""
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _negatives(views: Views) -> dict[str, int]:
    """How many negatives the losses of a batch have, and how many false ones were left out of them."""
    counts = views.negatives.values()
    return {
        "negatives": sum(count for count, _ in counts),
        "false_negatives_left_out": sum(count for _, count in counts),
    }


@torch.no_grad()
def _geometry(vectors: Tensor, views: Views) -> dict[str, float]:
    """Alignment and uniformity of a batch: a model that collapses shows in its uniformity, near 0."""
    pairs = next(iter(views.pairs.values())).to(vectors.device)
    different = vectors[torch.unique(pairs.anchors)[:_LOOKED_AT]]
    return {
        "alignment": alignment(vectors[pairs.anchors], vectors[pairs.positives]).item(),
        "uniformity": uniformity(different).item() if len(different) > 1 else 0.0,
    }
