"""Prod2BERT: Bianchi, Yu, Tagliabue, BERT Goes Shopping, 2021.

Letters: B sessions, S positions, T masked positions of all of them, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.item_tower import ItemTower
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.errors import InvalidData
from ubm_embed.progress import Progress, silent
from ubm_embed.training.step import learning_rate as scheduled

MASKING_RATE = 0.15  # BERT's


class Prod2BERT(ItemTower):
    """BERT over product ids; a session is the mean of the outputs at its products.

    Args:
        layers, heads: of the encoder; the paper compares with 8 layers of dimension 256.
    """

    def __init__(
        self,
        products: int,
        *,
        dimension: int = 128,
        dropout: float = 0.1,
        max_interactions: int = 32,
        layers: int = 4,
        heads: int = 4,
        temperature: float | None = None,
    ) -> None:
        super().__init__(
            products, dimension=dimension, max_interactions=max_interactions, temperature=temperature, special=1
        )
        self.mask = products + 1
        settings: dict[str, Any] = {
            "hidden_size": dimension,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * dimension,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "attn_implementation": "sdpa",
        }
        self.positions = nn.Embedding(max_interactions, dimension)
        self.norm, self.dropout = nn.LayerNorm(dimension), nn.Dropout(dropout)
        self.layers = cast(nn.Module, BertEncoder(BertConfig(**settings)))  # type: ignore[no-untyped-call]
        # BERT's head for masked tokens, with the item table as its last matrix.
        self.head = nn.Sequential(nn.Linear(dimension, dimension), nn.GELU(), nn.LayerNorm(dimension))
        self.bias = nn.Parameter(torch.zeros(products))
        self.apply(_initialise)
        self.clear_padding()

    def encode(self, sequences: ItemSequences) -> Tensor:
        """[B, D]."""
        filled = sequences.filled.unsqueeze(2)
        total = self.outputs(sequences).masked_fill(~filled, 0.0).sum(dim=1)
        return total / sequences.lengths.clamp(min=1).unsqueeze(1)

    def outputs(self, sequences: ItemSequences) -> Tensor:
        """BERT's output at each position: [B, S, D]; arbitrary at padding."""
        positions = torch.arange(sequences.items.shape[1], device=sequences.items.device)
        visible = sequences.filled
        visible[:, 0] = True  # a session without a product attends to its padding: a softmax over nothing is NaN
        states: Tensor = self.dropout(self.norm(self.items(sequences.items) + self.positions(positions)))
        return cast(Tensor, self.layers(states, attention_mask=visible[:, None, None, :]).last_hidden_state)

    def fill(self, sequences: ItemSequences, mask: Tensor) -> Tensor:
        """Scores of every product at the T positions of `mask` [B, S], row by row: [T, M]."""
        states: Tensor = self.head(self.outputs(sequences)[mask])
        return states @ self.items.weight[: self.product_count].T + self.bias


def _initialise(module: nn.Module) -> None:
    """Initialise as BERT does: normal with standard deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class MaskedItems:
    """Sequences with some products masked, and the originals.

    Attributes:
        sequences: of B sessions, with the masked inputs.
        mask: [B, S] bool, positions to predict.
        targets: [T] int64 original product ids, row by row.
    """

    sequences: ItemSequences
    mask: Tensor
    targets: Tensor

    @classmethod
    def draw(
        cls, sequences: ItemSequences, tower: Prod2BERT, masking_rate: float, rng: np.random.Generator
    ) -> MaskedItems:
        """Mask positions at this rate, and at least one of each session, since most sessions are short.

        As in BERT, 80% of them hold the mask, 10% a random product, and 10% stay.
        """
        filled = sequences.filled.cpu().numpy()
        draws = np.where(filled, rng.random(filled.shape), np.inf)
        masked = filled & ((draws < masking_rate) | (draws == draws.min(axis=1, keepdims=True)))
        kind = rng.random(filled.shape)
        items = sequences.items.cpu().numpy()
        inputs = np.where(masked & (kind < 0.8), tower.mask, items)
        inputs = np.where(masked & (kind >= 0.9), rng.integers(tower.product_count, size=filled.shape), inputs)
        mask = torch.from_numpy(masked).to(sequences.items.device)
        changed = ItemSequences(torch.from_numpy(inputs).to(mask.device), sequences.lengths)
        return cls(changed, mask, sequences.items[mask])


def pretrain_masked_items(
    tower: Prod2BERT,
    sessions: SessionTable,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    progress: Progress = silent,
    masking_rate: float = MASKING_RATE,
    weight_decay: float = 0.01,
    max_gradient_norm: float = 1.0,
) -> NDArray[np.float32]:
    """Pre-train by masked "language" modelling over sessions' products; returns the loss of each step, [steps].

    Each step reads `batch` sessions, drawn with replacement from those of two products or more. The rate rises to
    `learning_rate` over a tenth of the steps and falls to 0. Equal seeds give equal weights.

    Raises:
        InvalidData: no session has two products.
    """
    lengths = ItemSequences.from_sessions(sessions, tower.product_count, tower.max_interactions).lengths.numpy()
    usable = np.flatnonzero(lengths > 1)
    if not usable.size:
        raise InvalidData("no session has two products, and masking needs one to hide and one to predict it from")
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)  # for dropout
    optimizer = torch.optim.AdamW(tower.parameters(), weight_decay=weight_decay)
    losses = np.zeros(steps, dtype=np.float32)
    tower.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = scheduled(step, steps, peak=learning_rate, warmup=0.1)
        masked = MaskedItems.draw(tower.read(sessions.take(rng.choice(usable, batch))), tower, masking_rate, rng)
        loss = cross_entropy(tower.fill(masked.sequences, masked.mask), masked.targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(tower.parameters(), max_gradient_norm)
        optimizer.step()
        losses[step] = loss.item()
        progress("masked items", step + 1, steps, f"loss {losses[step]:.3f}")
    return losses
