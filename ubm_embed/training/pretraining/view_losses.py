"""The losses of a batch, from its vectors and its pairs.

Letters: N pairs, K vectors of the batch, D width.
"""

from __future__ import annotations

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.losses import contrastive_loss
from ubm_embed.training.pretraining.views import Pairs, Views

# From here on the scores of a loss, 16 MB and more, are computed again.
_MANY_PAIRS = 2048


def view_losses(vectors: Tensor, views: Views, config: PretrainingConfig) -> dict[str, Tensor]:
    """Each loss of a batch, by its name, from its vectors [K, D].

    Of many pairs the scores [N, N] are not kept for the backward but computed again, one loss after the other.
    """

    def loss_of(pairs: Pairs) -> Tensor:
        return contrastive_loss(
            vectors[pairs.anchors],
            vectors[pairs.positives],
            pairs.same,
            temperature=config.temperature,
            positive_in_denominator=config.positive_in_denominator,
        )

    def lean(pairs: Pairs) -> Tensor:
        if pairs.anchors.numel() < _MANY_PAIRS:
            return loss_of(pairs)
        loss: Tensor = checkpoint(loss_of, pairs, use_reentrant=False, preserve_rng_state=False)
        return loss

    return {name: lean(pairs.to(vectors.device)) for name, pairs in views.pairs.items()}
