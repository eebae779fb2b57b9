"""What a step of pre-training logs beside its losses: how its vectors lie, and what its losses compare.

Letters: K vectors of the batch, D width, N pairs of a loss.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ubm_embed.training.geometry import alignment, uniformity
from ubm_embed.training.pretraining.views import Views

# Vectors whose uniformity is logged: all pairs of a batch of thousands would take more memory than a chunk.
_UNIFORMITY_SAMPLE = 2048


@torch.no_grad()
def geometry(vectors: Tensor, views: Views) -> dict[str, float]:
    """Alignment and uniformity of a batch's vectors [K, D]: the uniformity of a collapsed model is near 0."""
    pairs = next(iter(views.pairs.values())).to(vectors.device)
    different = vectors[torch.unique(pairs.anchors)[:_UNIFORMITY_SAMPLE]]
    return {
        "alignment": alignment(vectors[pairs.anchors], vectors[pairs.positives]).item(),
        "uniformity": uniformity(different).item() if len(different) > 1 else 0.0,
    }


def negatives(views: Views, *, positive_in_denominator: bool) -> dict[str, float]:
    """The negatives of all losses, the false ones that were masked, and the mean number of candidates of an anchor.

    Besides, the chance level of each loss: its value for a model to which all candidates look alike, which is the
    logarithm of their number.
    """
    anchors = {name: pairs.anchors.numel() for name, pairs in views.pairs.items()}
    counts = {name: count for name, (count, _) in views.negatives.items()}
    own = int(positive_in_denominator)
    return {
        "negatives": sum(counts.values()),
        "num_masked": sum(masked for _, masked in views.negatives.values()),
        "candidates": own + sum(counts.values()) / sum(anchors.values()),
        **{f"{name}_chance": math.log(max(1.0, own + counts[name] / anchors[name])) for name in anchors},
    }
