"""A projection that sets the products of a catalogue apart, before anything is trained.

The vectors that a pre-trained encoder gives to the products of one shop lie close together: they differ in few of its
directions. Whitening (Su et al. 2021, "Whitening Sentence Representations for Better Semantics and Faster Retrieval")
takes away their mean and stretches the directions in which they differ least.

Letters: N texts, E width of the encoder, D width of the model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.tower import TOKENS_PER_BATCH, TextInteractions
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# The covariance of 384 directions needs no more.
_MAX_TEXTS = 10_000
# Added to each variance, as a fraction of their mean: a direction with less is noise, and is not blown up.
_SHRINKAGE = 0.1


@torch.no_grad()
def whiten(model: UserBehaviorModel, tokenizer: InteractionTokenizer, texts: TokenTable, *, seed: int = 0) -> None:
    """Set the projection to a whitening of these product texts; a model without a projection gets one."""
    if not len(texts):
        return
    rows = np.sort(np.random.default_rng(seed).permutation(len(texts))[:_MAX_TEXTS])
    model.add_projection()
    weight, bias = whitening(_read(model, tokenizer, texts.take(rows)), model.config.dimension)
    projection = model.interaction_encoder.projection
    assert isinstance(projection, nn.Linear)
    projection.weight.copy_(torch.from_numpy(weight))
    projection.bias.copy_(torch.from_numpy(bias))


def whitening(vectors: FloatArray, dimension: int, *, shrinkage: float = _SHRINKAGE) -> tuple[FloatArray, FloatArray]:
    """The weight [D, E] and the bias [D] that centre N vectors and scale their D largest principal components.

    A component of variance v is divided by the root of v plus `shrinkage` times the mean variance. The whole is scaled
    so that the components of a vector have a variance of 1 on average. Beyond the E components, rows are 0.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    values, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    values, directions = values[::-1].clip(min=0)[:dimension], directions[:, ::-1][:, :dimension]
    scales = 1 / np.sqrt(values + shrinkage * max(values.mean(), 1e-12))
    scales *= np.sqrt(dimension / max(1e-12, (values * scales**2).sum()))
    weight = np.zeros((dimension, vectors.shape[1]))
    weight[: values.size] = (directions * scales).T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def _read(model: UserBehaviorModel, tokenizer: InteractionTokenizer, texts: TokenTable) -> FloatArray:
    """What the encoder reads from products: [N, E]."""
    interactions = TextInteractions(model.interaction_encoder.eval(), tokenizer, texts)
    vectors = np.empty((len(texts), model.interaction_encoder.width), np.float32)
    for part in texts.batches(TOKENS_PER_BATCH):
        vectors[part] = interactions.read_texts(np.full(part.size, NO_ACTION), part).float().cpu().numpy()
    return vectors
