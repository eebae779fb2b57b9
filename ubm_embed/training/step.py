"""One step of gradient descent, taken only where its numbers are finite."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ubm_embed.errors import QualityGateFailed
from ubm_embed.training.processes import ALONE, Processes


def take_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    *,
    rate: float,
    max_gradient_norm: float,
    where: str,
    details: Callable[[], str] = str,
    processes: Processes = ALONE,
) -> float:
    """Step down the gradient of `loss`, clipped, at this learning rate; returns the gradient's norm before clipping.

    Args:
        rate: for what has no `rate_factor` of its own.
        where, details: which step it is, and what to know of it, for the error. Both numbers are looked at once, after
            the backward pass: a GPU would stand still for each look.
        processes: who takes the same step: each has the whole loss and gives its part of the gradient.

    Raises:
        QualityGateFailed: the loss or its gradient is not finite; the weights are as they were.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    optimizer.zero_grad(set_to_none=True)
    (loss / processes.world).backward()  # type: ignore[no-untyped-call]
    processes.sum_gradients(module)
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), max_gradient_norm)
    lost, norm_found = torch.stack([loss.detach(), norm]).tolist()
    for what, number in (("loss", lost), ("gradient", norm_found)):
        if not math.isfinite(number):
            raise QualityGateFailed(
                f"the {what} of {where} is not finite{(known := details()) and f' ({known})'}; the step was not taken "
                "and the last kept state is unharmed: lower --learning-rate and start again with --overwrite"
            )
    optimizer.step()
    return float(norm_found)
