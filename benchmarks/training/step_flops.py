"""Floating-point operations of a training step, counted from real tokens alone: what padding costs is not in it.

A multiply-add is two. Counted are the matrix products of both encoders: projections, attention over each sequence's
own length, feed-forward. Not counted are the embeddings, a projection to another width, norms, activations, the losses
and the optimizer: per cents.

Letters: N sequences, T elements of all of them, D width, F width inside the feed-forward part.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedConfig

from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Backward is two products for each of forward's: a gradient of the input and one of the weights.
_FORWARD_AND_BACKWARD = 3


@dataclass(frozen=True)
class EncoderSize:
    """A BERT-like encoder: its layers, D and F."""

    layers: int
    width: int
    inner: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> EncoderSize:
        """From transformers' settings."""
        return cls(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    def forward(self, lengths: Tensor, *, heads_alone: bool = False) -> int:
        """Operations of a forward pass over sequences of these lengths [N].

        Args:
            heads_alone: the last layer is computed for the first element of each sequence alone, as an interaction's
                vector needs it: keys and values for all T, everything else for N.
        """
        tokens, pairs, sequences = int(lengths.sum()), int((lengths**2).sum()), int((lengths > 0).sum())
        full = self._layer(tokens, tokens, pairs)
        last = self._layer(tokens, sequences, tokens) if heads_alone else full
        return (self.layers - 1) * full + last

    def _layer(self, keys: int, queries: int, pairs: int) -> int:
        """Of one layer, for so many elements with keys and values, with queries, and pairs that attend."""
        square = self.width**2
        key_and_value, query_and_output = 2 * square * keys, 2 * square * queries
        scores_and_means, feed_forward = 2 * self.width * pairs, 2 * self.width * self.inner * queries
        return 2 * (key_and_value + query_and_output + scores_and_means + feed_forward)


@dataclass(frozen=True)
class StepSize:
    """Both encoders of a model.

    Attributes:
        heads_alone: whether the interaction encoder's last layer is computed for `[CLS]` alone.
    """

    interactions: EncoderSize
    sessions: EncoderSize
    heads_alone: bool

    @classmethod
    def of(cls, model: UserBehaviorModel, *, heads_alone: bool) -> StepSize:
        """Of a model."""
        width = model.config.dimension
        sessions = EncoderSize(model.config.session_layers, width, 4 * width)
        return cls(EncoderSize.of(model.interaction_encoder.encoder.config), sessions, heads_alone)

    def step(self, tokens: Tensor, interactions: Tensor | None = None) -> int:
        """Operations of forward and backward.

        Args:
            tokens: [N] tokens of each sequence that the interaction encoder reads; 0 for one that is no interaction.
            interactions: [B] interactions of each session; None where no session is read, as in stage 1.
        """
        forward = self.interactions.forward(tokens, heads_alone=self.heads_alone)
        if interactions is not None:
            forward += self.sessions.forward(interactions)
        return _FORWARD_AND_BACKWARD * forward
