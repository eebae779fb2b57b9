"""The contrastive loss of equations 1 to 4. They differ only in what is paired with what.

Letters: N pairs, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

TEMPERATURE = 0.05


def contrastive_loss(
    anchors: Tensor,
    positives: Tensor,
    same: Tensor,
    *,
    temperature: float = TEMPERATURE,
    positive_in_denominator: bool = True,
) -> Tensor:
    """Mean over i of  -log( exp(sim(a_i, p_i)/t) / sum_j exp(sim(a_i, p_j)/t) ), sim the cosine: a scalar.

    The paper writes the sum over i; the mean makes one learning rate fit every batch size. It prints the denominator
    without j = i (`positive_in_denominator=False`); the usual InfoNCE, our default, has it.

    Args:
        anchors, positives: [N, D]; row i of one belongs with row i of the other.
        same: [N, N] bool; `same[i, j]` says that p_j is no negative of a_i, being the same thing. The diagonal is not
            read.
    """
    scores = normalize(anchors, dim=1) @ normalize(positives, dim=1).T / temperature
    itself = torch.eye(scores.shape[0], dtype=torch.bool, device=scores.device)
    left_out = (same | itself) if not positive_in_denominator else (same & ~itself)
    # A row whose every other column is left out has no negatives; its sum would be log 0.
    counted = ~left_out.all(dim=1)
    denominator = scores.masked_fill(left_out, float("-inf"))[counted].logsumexp(dim=1)
    losses = denominator - scores.diagonal()[counted]
    return losses.mean() if losses.numel() else scores.sum() * 0.0
