"""Which examples a step reads and at what learning rate, from the settings and the step's number alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ubm_embed.data.arrays import IntArray
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.stages import Stage


def stage_steps(stage: Stage, config: PretrainingConfig) -> int:
    """Steps of a stage: its epochs of whole batches, at most `max_steps`."""
    examples = stage.epoch(_epoch_generator(config, stage, 0)).size
    steps = config.epochs * max(1, examples // stage.batch_size)
    most = config.most_steps(stage.number)
    return steps if most is None else min(steps, most)


def batches(stage: Stage, config: PretrainingConfig, first: int = 0) -> Iterator[tuple[int, IntArray]]:
    """(step, chosen examples) of a stage, from step `first` on. What is left of an epoch after whole batches waits."""
    step, epoch, total = 0, 0, stage_steps(stage, config)
    while step < total:
        order = stage.epoch(_epoch_generator(config, stage, epoch))
        for batch in range(max(1, order.size // stage.batch_size)):
            if first <= step < total:
                yield step, order[batch * stage.batch_size : (batch + 1) * stage.batch_size]
            step += 1
        epoch += 1


def learning_rate(step: int, total: int, *, peak: float, warmup: float) -> float:
    """Linear up to `peak` over the first `warmup` share of the steps, then linear down to 0 (paper 4.2.1)."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (total - step) / max(1, total - rising + 1)


def _epoch_generator(config: PretrainingConfig, stage: Stage, epoch: int) -> np.random.Generator:
    # Steps draw from three numbers; a fourth keeps an epoch's order apart from every step's.
    return np.random.default_rng([config.seed, stage.number, epoch, 1])
