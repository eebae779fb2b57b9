"""Interactions whose texts are read in advance, or at some steps only: a step then costs what it does without texts.

What the encoder reads from a text is kept; the projection and the item embeddings, which follow it, are computed and
trained at every step. So the texts of a whole shop are read once, however often its sessions are.

Letters: N distinct interactions, K of them, E width of the encoder, D width of the model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.distinct_batches import distinct_interactions, interaction_codes
from ubm_embed.model.device import autocast
from ubm_embed.model.tower import TOKENS_PER_BATCH, TextInteractions
from ubm_embed.model.user_behavior_model import InteractionEncoder
from ubm_embed.progress import Progress, silent

# Beyond this many bytes, what was read lies in a temporary file.
MAX_IN_MEMORY = 1 << 30
_WITHOUT = -1


class PooledInteractions(nn.Module):
    """N interactions, read by an encoder that is frozen, or trained at every k-th step.

    A training step that reads texts keeps what it reads for the steps after it. The others take what was read last,
    which lags behind the encoder. Outside training nothing lags: everything is read anew if the encoder has changed.

    Args:
        interactions: reads texts.
        actions, rows: [I], all interactions that will be asked for, repeats allowed.
        every: `start_step` lets every k-th step read texts; 0 freezes the encoder.
        precision: to read all texts in, as `autocast` takes it.
        max_in_memory: bytes of float16 that are kept in memory; more lie in a temporary file.
    """

    def __init__(
        self,
        interactions: TextInteractions,
        actions: IntArray,
        rows: IntArray,
        *,
        every: int = 0,
        precision: str = "float32",
        progress: Progress = silent,
        max_in_memory: int = MAX_IN_MEMORY,
    ) -> None:
        super().__init__()
        encoder = interactions.encoder
        self._interactions = (interactions,)  # in a tuple, so that a frozen encoder is no part of this module
        # What is trained. A frozen encoder is neither copied nor saved with the best weights.
        self.trained = encoder if every else _after_texts(encoder)
        self.every, self.precision, self.reads_texts = every, precision, False
        self._actions, self._rows, _ = distinct_interactions(actions, rows)
        self._codes = interaction_codes(self._actions, self._rows)
        self._read = _storage(self._rows.size, encoder.width, max_in_memory)
        self._item_rows = torch.full((self._rows.size,), _WITHOUT)
        # Whether other weights were loaded, and whether a step has trained the encoder, since all texts were read.
        self._replaced = self._trained_since = False
        self._read_all(progress)
        self.register_load_state_dict_post_hook(_note_other_weights)  # type: ignore[no-untyped-call]

    @property
    def interactions(self) -> TextInteractions:
        """What reads texts."""
        return self._interactions[0]

    def start_step(self, step: int) -> None:
        """Whether the training step of this number reads texts follows from the number."""
        self.reads_texts = bool(self.every) and step % self.every == 0

    def forward(self, actions: IntArray, rows: IntArray) -> Tensor:
        """b' of K interactions: [K, D]."""
        which = torch.from_numpy(np.searchsorted(self._codes, interaction_codes(actions, rows)))
        encoder, items = self.interactions.encoder, self.interactions.encoder.item_embeddings
        vectors = encoder.project(self._texts(actions, rows, which))
        if items is None:
            return vectors
        row = self._item_rows[which].to(vectors.device)
        return vectors + items.take(row.clamp(min=0), row != _WITHOUT).to(vectors.dtype)

    def _texts(self, actions: IntArray, rows: IntArray, which: Tensor) -> Tensor:
        """What the encoder reads from K texts, now or kept from before: [K, E]."""
        if self._replaced or (self._trained_since and not self.training):
            self._read_all()
        if not (self.training and self.reads_texts):
            return self._read[which].to(self.interactions.device, torch.float32)
        read = self.interactions.read_texts(actions, rows)
        self._read[which] = read.detach().to("cpu", self._read.dtype)
        self._trained_since = True
        return read

    @torch.no_grad()
    def _read_all(self, progress: Progress = silent) -> None:
        """Read every text, without dropout."""
        done = 0
        with _in_evaluation(self.interactions.encoder.encoder), autocast(self.interactions.device, self.precision):
            for part in self.interactions.texts.take(self._rows).batches(TOKENS_PER_BATCH):
                self._read_part(part)
                done += part.size
                progress("reading interactions", done, self._rows.size)
        self._replaced = self._trained_since = False

    def _read_part(self, part: IntArray) -> None:
        encoder, which = self.interactions.encoder, torch.from_numpy(part)
        tokens = self.interactions.tokens(self._actions[part], self._rows[part])
        self._read[which] = encoder.read_text(tokens).to("cpu", self._read.dtype)
        if encoder.item_embeddings is not None:
            row, has_vector = encoder.item_embeddings.find(tokens)
            self._item_rows[which] = row.masked_fill(~has_vector, _WITHOUT).cpu()


def _after_texts(encoder: InteractionEncoder) -> nn.ModuleDict:
    """What follows the reading of a text, under the names that it has in the encoder."""
    parts = {"projection": encoder.projection, "item_embeddings": encoder.item_embeddings}
    return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})


def _note_other_weights(module: PooledInteractions, _: Any) -> None:
    module._replaced = bool(module.every)


def _storage(count: int, width: int, max_in_memory: int) -> Tensor:
    """[count, width] float16, in memory or in a temporary file that is gone with it."""
    if count * width * torch.float16.itemsize <= max_in_memory:
        return torch.empty(count, width, dtype=torch.float16)
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float16, "w+", shape=(count, width)))


@contextmanager
def _in_evaluation(module: nn.Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
