"""Domain adaptation: a general language model is trained further on a shop's interactions (paper 4.1.3).

Letters: R texts, C words to predict, V token ids, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.baselines.masked_words import MaskedWords
from ubm_embed.data.batches.distinct_batches import interaction_sequences
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.user_behavior_model import InteractionEncoder
from ubm_embed.progress import Progress, silent
from ubm_embed.training.step import learning_rate as scheduled_rate

# As in BERT: fresh hidden states can be so small that torch's 1e-5 would change them.
_NORM_EPS = 1e-12
_WARMUP = 0.1
_WEIGHT_DECAY = 0.01
_MAX_GRADIENT_NORM = 1.0
# The head is untrained, unlike the layers below it: at their rate it would mislead them for most of a short training.
_HEAD_RATE = 10.0


def adapt_to_domain(
    encoder: InteractionEncoder,
    tokenizer: InteractionTokenizer,
    texts: TokenTable,
    sessions: SessionTable,
    *,
    steps: int,
    batch: int = 64,
    learning_rate: float = 5e-5,
    seed: int = 0,
    progress: Progress = silent,
) -> list[float]:
    """Train an encoder in place to predict masked words of the sessions' interactions; returns the loss of each step.

    Each epoch reads every interaction with a word once, with new masks. Equal seeds give equal weights, and the global
    random state does not change.

    Args:
        batch: interactions a step.
        learning_rate: the encoder's peak rate; the rate rises to it and falls to 0, linearly.

    Raises:
        ValueError: no interaction has a word.
        RuntimeError: a gradient is not finite.
    """
    rng = np.random.default_rng(seed)
    batches = interaction_batches(has_word(texts, tokenizer)[sessions.rows], batch, rng)
    was_training, losses = encoder.training, list[float]()
    with torch.random.fork_rng(devices=_cuda_devices(encoder)):
        torch.manual_seed(seed)  # for the head's weights and dropout
        task = WordPrediction(encoder, learning_rate)
        encoder.train()
        for step in range(steps):
            chosen = next(batches)
            actions, rows = sessions.actions[chosen].astype(np.int64), sessions.rows[chosen]
            words = MaskedWords.mask(interaction_sequences(tokenizer, texts, actions, rows), tokenizer, rng)
            losses.append(task.step(words, scheduled_rate(step, steps, peak=1.0, warmup=_WARMUP)))
            progress("domain adaptation", step + 1, steps, f"loss {losses[-1]:.3f}")
    encoder.train(was_training)
    return losses


def has_word(texts: TokenTable, tokenizer: InteractionTokenizer) -> NDArray[np.bool_]:
    """[R] whether each text has a word."""
    words = np.append(0, np.cumsum(tokenizer.is_word[texts.ids]))
    return np.diff(words[texts.offsets]) > 0


def interaction_batches(mask: NDArray[np.bool_], batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Endless batches of interactions in `mask`, as indexes; every epoch has a new order.

    Raises:
        ValueError: the mask selects no interaction.
    """
    indexes = np.flatnonzero(mask)
    if indexes.size == 0:
        raise ValueError("no interaction has a word to predict")
    return _batches(indexes, batch, rng)


def _batches(indexes: NDArray[np.int64], batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    waiting = indexes[:0]
    while True:
        while waiting.size < batch:
            waiting = np.append(waiting, rng.permutation(indexes))
        yield waiting[:batch]
        waiting = waiting[batch:]


class PredictionHead(nn.Module):
    """BERT's head: dense layer, activation, layer norm, then the input embeddings and a bias for each token."""

    def __init__(self, hidden: int, embeddings: Tensor) -> None:
        super().__init__()
        vocabulary, width = embeddings.shape
        self.dense = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=_NORM_EPS)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Hidden states [C, hidden] and embeddings [V, E] -> logits [C, V]."""
        return functional.linear(self.norm(functional.gelu(self.dense(hidden))), embeddings, self.bias)


class WordPrediction:
    """An encoder with a head that is used in training only, and their optimizer."""

    def __init__(self, encoder: InteractionEncoder, learning_rate: float) -> None:
        self.encoder = encoder
        self.bert: Any = encoder.encoder
        self.embeddings = cast(Tensor, self.bert.get_input_embeddings().weight)
        self.device = self.embeddings.device
        self.head = PredictionHead(self.bert.config.hidden_size, self.embeddings).to(self.device)
        self.peaks = (learning_rate, _HEAD_RATE * learning_rate)
        groups = [{"params": list(module.parameters())} for module in (self.bert, self.head)]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)

    def logits(self, words: MaskedWords) -> Tensor:
        """Scores of every token at the C masked positions: [C, V]."""
        hidden = self.encoder.hidden(words.tokens)
        return cast(Tensor, self.head(hidden[words.predicted], self.embeddings))

    def step(self, words: MaskedWords, factor: float) -> float:
        """Take a step at this fraction of the peak learning rates; returns the loss before it."""
        words = words.to(self.device)
        loss = functional.cross_entropy(self.logits(words), words.answers)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = factor * peak
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [*self.bert.parameters(), *self.head.parameters()]
        torch.nn.utils.clip_grad_norm_(parameters, _MAX_GRADIENT_NORM, error_if_nonfinite=True)
        self.optimizer.step()
        return loss.item()


def _cuda_devices(module: nn.Module) -> list[torch.device]:
    device = next(module.parameters()).device
    return [device] if device.type == "cuda" else []
