"""What a step of fine-tuning logs beside its loss: how its sessions lie, and what its loss compares.

Letters: B examples, C candidates, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ubm_embed.training.geometry import alignment, uniformity

# All pairs of this many vectors take 1 ms of a core, where a step without texts takes a hundred. They are spread over
# the batch, in which the positions of a session stand side by side.
_UNIFORMITY_SAMPLE = 256


@torch.no_grad()
def session_metrics(sessions: Tensor) -> dict[str, float]:
    """The uniformity of session vectors [B, D]."""
    spread = sessions.detach().float()[:: -(-len(sessions) // _UNIFORMITY_SAMPLE)]
    return {"uniformity": uniformity(spread).item()} if len(spread) > 1 else {}


@torch.no_grad()
def next_item_metrics(sessions: Tensor, vectors: Tensor, scores: Tensor, targets: Tensor) -> dict[str, float]:
    """The same, the alignment of sessions with their next items, and what the softmax compares.

    Args:
        sessions: [B, D].
        vectors: [C, D], the candidates'.
        scores: [B, C], -inf where a candidate is masked.
        targets: [B] columns.
    """
    compared = int(torch.count_nonzero(scores > -torch.inf))  # a third of the time of `isfinite`
    return {
        "alignment": alignment(sessions.detach().float(), vectors.detach().float()[targets]).item(),
        **session_metrics(sessions),
        "negatives": compared - len(targets),
        "num_masked": scores.numel() - compared,
        "candidates": compared / len(targets),
    }
