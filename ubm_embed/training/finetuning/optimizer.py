"""The optimizer of fine-tuning."""

from __future__ import annotations

import torch
from torch import nn

from ubm_embed.errors import InvalidData
from ubm_embed.training.finetuning.config import FinetuningConfig

# Tables with a row per word, per product, per item of a baseline.
_EMBEDDINGS = ("word_embeddings.weight", "item_embeddings.vectors", "items.weight", "tokens.weight")


def adamw(module: nn.Module, config: FinetuningConfig) -> torch.optim.AdamW:
    """AdamW. Embeddings, of which a step reads few rows each, learn at `embedding_rate_multiplier` times the rate.

    Raises:
        InvalidData: there are no weights to train.
    """
    embeddings = {id(one) for name, one in module.named_parameters() if name.endswith(_EMBEDDINGS)}
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if not weights:
        raise InvalidData("nothing to train: the model has no session layers, and its other weights are fixed")
    slow = [weight for weight in weights if id(weight) not in embeddings]
    fast = [weight for weight in weights if id(weight) in embeddings]
    groups = [{"params": slow, "rate_factor": 1.0}, {"params": fast, "rate_factor": config.embedding_rate_multiplier}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
