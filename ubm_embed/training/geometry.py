"""Alignment and uniformity (paper 4.6) of the vectors of a step, on the device that they were made on.

`ubm_embed.evaluation.uniformity` defines them; this is the same in PyTorch, because every step logs them.

Letters: N vectors, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """E |f(x) - f(x+)|^2 over positive pairs: two [N, D], normalised here -> a scalar, 0 to 4."""
    return (normalize(x, dim=1) - normalize(y, dim=1)).square().sum(dim=1).mean()


def uniformity(x: Tensor) -> Tensor:
    """log E exp(-2 |f(x) - f(z)|^2) over pairs of rows: [N, D], N >= 2, normalised here -> a scalar, -8 to 0."""
    return torch.pdist(normalize(x, dim=1)).square().mul(-2).exp().mean().log()
