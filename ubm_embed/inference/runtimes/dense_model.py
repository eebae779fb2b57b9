"""The model over padded, dense tensors, as other runtimes take it: the encoders of the packed model on another layout.

Letters: N sequences, L token slots, B sessions, S interaction slots, D width.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.user_behavior_model import UserBehaviorModel


class Padding:
    """A `Layout` of N padded sequences, one per tile. States are [N, L, D].

    Args:
        mask: [N, L] int64, 1 in slots that hold an element and 0 after them.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    @property
    def tiles(self) -> int:
        """N."""
        return self.mask.shape[0]

    @property
    def positions(self) -> Tensor:
        """[L], the same for every sequence."""
        return torch.arange(self.mask.shape[1], device=self.mask.device)

    def attention_mask(self, *, causal: bool = False) -> Tensor:
        """What is added to the scores: [N, 1, 1 or L, L], 0 or so low that nothing is left after a softmax."""
        # Neither -inf nor bool: exporters would add a search for rows without any slot, of which there are none.
        barred = (1.0 - self.mask[:, None, None, :].float()) * -1e9
        if not causal:
            return barred
        later = (self.positions[None, :] > self.positions[:, None]).float() * -1e9
        return barred + later

    def first_mask(self) -> Tensor:
        """As `attention_mask`: [N, 1, 1, L]."""
        return self.attention_mask()

    def firsts(self, hidden: Tensor) -> Tensor:
        """[N, L, D] -> [N, D]."""
        return hidden[:, 0]

    def by_sequence(self, states: Tensor) -> Tensor:
        """[N, D], which is in the caller's order."""
        return states

    def last(self, hidden: Tensor) -> Tensor:
        """The state in the last slot of each sequence: [N, L, D] -> [N, D]."""
        number = self.mask.cumsum(dim=1)
        is_last = self.mask * (number == number[:, -1:]).to(self.mask.dtype)
        return (hidden * is_last[:, :, None].to(hidden.dtype)).sum(dim=1)

    def mean(self, hidden: Tensor) -> Tensor:
        """The mean over each sequence: [N, L, D] -> [N, D]."""
        weights = self.mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


class DenseInteractions(nn.Module):
    """Token ids to interaction vectors b'."""

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        self.encoder = deepcopy(model.interaction_encoder).eval().requires_grad_(False)
        # Put together here, so that an exporter finds weights and not the operations that join them.
        self._layers = self.encoder.layers(torch.float32)

    def forward(self, ids: Tensor, mask: Tensor, item_vectors: Tensor | None = None) -> Tensor:
        """Ids [N, L] and which of them are tokens, 1 or 0 [N, L], both int64 -> [N, D].

        Args:
            item_vectors: [N, D], the vectors of the texts, for a model with `ItemEmbeddings`; 0 for a text without one.
        """
        vectors = self.encoder.read(ids, Padding(mask), self._layers)
        return vectors if item_vectors is None else vectors + item_vectors


class DenseSessions(nn.Module):
    """Interaction vectors to unit vectors of sessions."""

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        self.encoder = deepcopy(model.session_encoder).eval().requires_grad_(False)
        self._layers = self.encoder.layers_like(self.encoder.positions)

    def forward(self, interactions: Tensor, mask: Tensor) -> Tensor:
        """b' [B, S, D] and which of them are interactions, 1 or 0, int64 [B, S] -> [B, D]."""
        layout = Padding(mask)
        outputs = self.encoder.outputs(interactions, layout, self._layers)
        return normalize(self.encoder.pool(outputs, layout), dim=1)


class DenseProducts(nn.Module):
    """Token ids of products to their unit vectors: each a session of length 1 without an action (paper 3.4.3)."""

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        self.interactions, self.sessions = DenseInteractions(model), DenseSessions(model)

    def forward(self, ids: Tensor, mask: Tensor, item_vectors: Tensor | None = None) -> Tensor:
        """As `DenseInteractions`: [N, D]."""
        session = self.interactions(ids, mask, item_vectors)[:, None]
        return cast(Tensor, self.sessions(session, torch.ones_like(mask[:, :1])))


def dense_inputs(model: UserBehaviorModel, sequences: TokenTable) -> dict[str, NDArray[Any]]:
    """The inputs of `DenseInteractions` for N sequences, by name; item_vectors only if the model has them."""
    ids, mask = padded(sequences)
    embeddings = model.interaction_encoder.item_embeddings
    if embeddings is None:
        return {"ids": ids, "mask": mask}
    with torch.inference_mode():
        vectors = embeddings(TokenBatch.from_table(sequences).to(model.device)).cpu().numpy()
    return {"ids": ids, "mask": mask, "item_vectors": vectors}


def padded(sequences: TokenTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences padded to the longest of them: ids and mask, [N, L] each."""
    present = np.arange(sequences.lengths.max()) < sequences.lengths[:, None]
    ids = np.zeros(present.shape, np.int64)
    ids[present] = sequences.ids
    return ids, present.astype(np.int64)
