"""The losses of a batch: the contrastive loss of equations 1 to 4, which differ only in what is paired with what.

Letters: N pairs, K vectors of the batch, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from ubm_embed.training.pretraining.config import TEMPERATURE, PretrainingConfig
from ubm_embed.training.pretraining.views import Pairs, Views

# From this many pairs on, the scores of a loss take 16 MB or more, and are computed again for the backward pass.
RECOMPUTED_PAIRS = 2048


def contrastive_loss(
    anchors: Tensor,
    positives: Tensor,
    false_negatives: Tensor,
    *,
    temperature: float = TEMPERATURE,
    positive_in_denominator: bool = True,
) -> Tensor:
    """The mean over i of  -log( exp(sim(a_i, p_i)/t) / sum_j exp(sim(a_i, p_j)/t) ), sim the cosine: a scalar.

    The paper writes the sum over i; the mean lets one learning rate fit every batch size. It prints the denominator
    without j = i (`positive_in_denominator=False`); the usual InfoNCE, our default, includes it.

    Args:
        anchors, positives: [N, D]; row i of one belongs with row i of the other.
        false_negatives: [N, N] bool; where `[i, j]` is True, p_j is left out of the sum of a_i. The diagonal is not
            read.
    """
    scores = normalize(anchors, dim=1) @ normalize(positives, dim=1).T / temperature
    diagonal = torch.eye(scores.shape[0], dtype=torch.bool, device=scores.device)
    masked = (false_negatives | diagonal) if not positive_in_denominator else (false_negatives & ~diagonal)
    # A row without a single term has no negatives; its sum would be log 0.
    has_terms = ~masked.all(dim=1)
    denominator = scores.masked_fill(masked, float("-inf"))[has_terms].logsumexp(dim=1)
    losses = denominator - scores.diagonal()[has_terms]
    return losses.mean() if losses.numel() else scores.sum() * 0.0


def batch_losses(
    vectors: Tensor, views: Views, config: PretrainingConfig, *, recomputed_pairs: int = RECOMPUTED_PAIRS
) -> dict[str, Tensor]:
    """Each loss of a batch, by its name, from its vectors [K, D].

    From `recomputed_pairs` pairs on, the scores [N, N] are not kept for the backward pass but computed again, one loss
    after the other.
    """

    def loss_of(pairs: Pairs) -> Tensor:
        return contrastive_loss(
            vectors[pairs.anchors],
            vectors[pairs.positives],
            pairs.false_negative_mask,
            temperature=config.temperature,
            positive_in_denominator=config.positive_in_denominator,
        )

    def lean(pairs: Pairs) -> Tensor:
        if pairs.anchors.numel() < recomputed_pairs:
            return loss_of(pairs)
        loss: Tensor = checkpoint(loss_of, pairs, use_reentrant=False, preserve_rng_state=False)
        return loss

    return {name: lean(pairs.to(vectors.device)) for name, pairs in views.pairs.items()}
