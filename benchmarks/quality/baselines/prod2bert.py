"""Prod2BERT: Bianchi, Yu, Tagliabue, BERT Goes Shopping, 2021.

Letters: B sessions, S places, T masked places of all of them, M products, D width.
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
from ubm_embed.training.pretraining.schedule import learning_rate as scheduled

MASKED = 0.15  # BERT's share


class Prod2BERT(ItemTower):
    """BERT over product ids; a session is the mean of the outputs at its products.

    Args:
        layers, heads: the paper compares with 8 layers of dimension 256.
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
        # BERT's head for masked tokens; its last matrix is the item table.
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
        """What BERT makes of each place: [B, S, D], of no meaning where padded."""
        places = torch.arange(sequences.items.shape[1], device=sequences.items.device)
        seen = sequences.filled
        seen[:, 0] = True  # a session without a product attends to its padding: a softmax over nothing is no number
        states: Tensor = self.dropout(self.norm(self.items(sequences.items) + self.positions(places)))
        return cast(Tensor, self.layers(states, attention_mask=seen[:, None, None, :]).last_hidden_state)

    def fill(self, sequences: ItemSequences, places: Tensor) -> Tensor:
        """Scores of every product at T places, [B, S] bool, row by row: [T, M]."""
        states: Tensor = self.head(self.outputs(sequences)[places])
        return states @ self.items.weight[: self.product_count].T + self.bias


def _initialise(module: nn.Module) -> None:
    """BERT's: normal with standard deviation 0.02, no biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class MaskedItems:
    """Sequences with some products hidden, and what stood there.

    Attributes:
        sequences: B of them, changed at the hidden places.
        places: [B, S] bool, which are to be filled.
        targets: [T] int64 product ids, row by row.
    """

    sequences: ItemSequences
    places: Tensor
    targets: Tensor

    @classmethod
    def draw(cls, sequences: ItemSequences, tower: Prod2BERT, share: float, rng: np.random.Generator) -> MaskedItems:
        """Hide a share of the places, one of each session at least, since most sessions are short.

        Of the hidden places 80% hold the mask, 10% a random product, 10% what they held, as in BERT.
        """
        filled = sequences.filled.cpu().numpy()
        draws = np.where(filled, rng.random(filled.shape), np.inf)
        hidden = filled & ((draws < share) | (draws == draws.min(axis=1, keepdims=True)))
        kind = rng.random(filled.shape)
        items = sequences.items.cpu().numpy()
        shown = np.where(hidden & (kind < 0.8), tower.mask, items)
        shown = np.where(hidden & (kind >= 0.9), rng.integers(tower.product_count, size=filled.shape), shown)
        places = torch.from_numpy(hidden).to(sequences.items.device)
        changed = ItemSequences(torch.from_numpy(shown).to(places.device), sequences.lengths)
        return cls(changed, places, sequences.items[places])


def pretrain_masked_items(
    tower: Prod2BERT,
    sessions: SessionTable,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    progress: Progress = silent,
    share: float = MASKED,
    weight_decay: float = 0.01,
    max_gradient_norm: float = 1.0,
) -> NDArray[np.float32]:
    """Pre-train by masked "language" modelling over sessions' products; the loss of each step, [steps].

    Each step reads `batch` sessions, drawn with replacement among those of two products or more. The rate rises over
    a tenth of the steps to `learning_rate` and falls to 0. The same seed gives the same weights.

    Raises:
        InvalidData: no session has two products.
    """
    lengths = ItemSequences.of(sessions, tower.product_count, tower.max_interactions).lengths.numpy()
    usable = np.flatnonzero(lengths > 1)
    if not usable.size:
        raise InvalidData("no session has two products; masking needs one to hide and one to guess from")
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)  # dropout's
    optimizer = torch.optim.AdamW(tower.parameters(), weight_decay=weight_decay)
    losses = np.zeros(steps, dtype=np.float32)
    tower.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = scheduled(step, steps, peak=learning_rate, warmup=0.1)
        masked = MaskedItems.draw(tower.read(sessions.take(rng.choice(usable, batch))), tower, share, rng)
        loss = cross_entropy(tower.fill(masked.sequences, masked.places), masked.targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(tower.parameters(), max_gradient_norm)
        optimizer.step()
        losses[step] = loss.item()
        progress("masked items", step + 1, steps, f"loss {losses[step]:.3f}")
    return losses
