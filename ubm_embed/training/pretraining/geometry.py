"""Alignment and uniformity of a batch (paper 4.6), on the device that it was encoded on.

`ubm_embed.evaluation.uniformity` defines them; this is the same in PyTorch, because every step logs them.

Letters: N vectors, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ubm_embed.training.pretraining.views import Views

# Vectors whose uniformity is logged: all pairs of a batch of thousands would take more memory than a chunk.
_UNIFORMITY_SAMPLE = 2048


@torch.no_grad()
def geometry(vectors: Tensor, views: Views) -> dict[str, float]:
    """Alignment and uniformity of a batch's vectors [N, D]: the uniformity of a collapsed model is near 0."""
    pairs = next(iter(views.pairs.values())).to(vectors.device)
    different = vectors[torch.unique(pairs.anchors)[:_UNIFORMITY_SAMPLE]]
    return {
        "alignment": alignment(vectors[pairs.anchors], vectors[pairs.positives]).item(),
        "uniformity": uniformity(different).item() if len(different) > 1 else 0.0,
    }


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """E |f(x) - f(x+)|^2 over positive pairs: two [N, D], normalised here -> a scalar, 0 to 4."""
    return (normalize(x, dim=1) - normalize(y, dim=1)).square().sum(dim=1).mean()


def uniformity(x: Tensor) -> Tensor:
    """log E exp(-2 |f(x) - f(z)|^2) over pairs of rows: [N, D], N >= 2, normalised here -> a scalar, -8 to 0."""
    return torch.pdist(normalize(x, dim=1)).square().mul(-2).exp().mean().log()
