"""One step of gradient descent: its learning rate, and the update, taken only where its numbers are finite."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ubm_embed.errors import QualityGateFailed
from ubm_embed.training.processes import ALONE, Processes


def learning_rate(step: int, total: int, *, peak: float, warmup: float) -> float:
    """The rate of step `step` (from 0): up to `peak` over the first `warmup` share of the steps, then down to 0.

    Both parts are linear (paper 4.2.1).
    """
    rising = max(1, round(warmup * total))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (total - step) / max(1, total - rising + 1)


def take_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    *,
    rate: float,
    max_gradient_norm: float,
    name: str,
    details: Callable[[], str] = str,
    remedy: str = "lower the learning rate",
    processes: Processes = ALONE,
) -> float:
    """Step down the clipped gradient of `loss`; returns the gradient's norm before clipping.

    Args:
        rate: the learning rate of parameter groups without a `rate_factor`; others multiply it by theirs.
        name, details, remedy: for the error: which step this is, further numbers, and what to do.
        processes: those that take the same step. Each has the whole loss and contributes its part of the gradient.

    Raises:
        QualityGateFailed: the loss or its gradient is not finite; the weights are unchanged.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    optimizer.zero_grad(set_to_none=True)
    (loss / processes.world_size).backward()  # type: ignore[no-untyped-call]
    processes.sum_gradients(module)
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), max_gradient_norm)
    # Both numbers are read at once, after the backward pass: each read makes a GPU wait.
    loss_value, norm_value = torch.stack([loss.detach(), norm]).tolist()
    for what, number in (("loss", loss_value), ("gradient", norm_value)):
        if not math.isfinite(number):
            numbers = f" ({text})" if (text := details()) else ""
            raise QualityGateFailed(f"the {what} of {name} is not finite{numbers}; the step was not taken: {remedy}")
    optimizer.step()
    return float(norm_value)
