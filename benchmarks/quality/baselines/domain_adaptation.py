"""Domain adaptation: a language model of the general domain goes on reading, now a shop's interactions (paper 4.1.3).

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
from ubm_embed.model.interaction_encoder import InteractionEncoder
from ubm_embed.progress import Progress, silent
from ubm_embed.training.pretraining.schedule import learning_rate as scheduled_rate

# As in BERT: fresh hidden states can be small enough for torch's 1e-5 to show.
_NORM_EPS = 1e-12
_WARMUP = 0.1
_WEIGHT_DECAY = 0.01
_MAX_GRADIENT_NORM = 1.0
# The head starts at random behind trained layers: at their rate it would misguide them for most of a short training.
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
    """Train an encoder in place to guess masked words of the sessions' interactions; the loss of each step.

    Every interaction is read once before any is read again, each time masked anew; those without a word are left out.
    Equal seeds give equal weights, whatever random numbers were drawn before.

    Args:
        batch: interactions a step.
        learning_rate: the encoder's highest; it rises to it and falls to 0, linearly.

    Raises:
        ValueError: no interaction has a word.
        RuntimeError: a gradient is not finite.
    """
    rng = np.random.default_rng(seed)
    batches = interaction_batches(readable(texts, tokenizer)[sessions.rows], batch, rng)
    was_training, losses = encoder.training, list[float]()
    with torch.random.fork_rng(devices=_cuda_devices(encoder)):
        torch.manual_seed(seed)  # the head's start, and dropout's
        task = WordPrediction(encoder, learning_rate)
        encoder.train()
        for step in range(steps):
            places = next(batches)
            actions, rows = sessions.actions[places].astype(np.int64), sessions.rows[places]
            words = MaskedWords.of(interaction_sequences(tokenizer, texts, actions, rows), tokenizer, rng)
            losses.append(task.step(words, scheduled_rate(step, steps, peak=1.0, warmup=_WARMUP)))
            progress("domain adaptation", step + 1, steps, f"loss {losses[-1]:.3f}")
    encoder.train(was_training)
    return losses


def readable(texts: TokenTable, tokenizer: InteractionTokenizer) -> NDArray[np.bool_]:
    """[R] whether a text has a word."""
    words = np.append(0, np.cumsum(tokenizer.is_word[texts.ids]))
    return np.diff(words[texts.offsets]) > 0


def interaction_batches(wanted: NDArray[np.bool_], batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Places of `batch` of the wanted interactions, without end: round after round of all of them, each shuffled.

    Raises:
        ValueError: none is wanted.
    """
    places = np.flatnonzero(wanted)
    if places.size == 0:
        raise ValueError("no interaction has a word to predict")
    return _rounds(places, batch, rng)


def _rounds(places: NDArray[np.int64], batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    waiting = places[:0]
    while True:
        while waiting.size < batch:
            waiting = np.append(waiting, rng.permutation(places))
        yield waiting[:batch]
        waiting = waiting[batch:]


class PredictionHead(nn.Module):
    """BERT's head: dense, activation and layer norm, then the input embeddings once more, and a bias a token."""

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
    """An encoder, a head for the time of the training, and their optimiser."""

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
        """Scores of every token at the C places: [C, V]."""
        hidden = self.encoder.hidden(words.tokens)
        return cast(Tensor, self.head(hidden[words.predicted], self.embeddings))

    def step(self, words: MaskedWords, share: float) -> float:
        """One step at this share of the highest learning rates; the loss before it."""
        words = words.to(self.device)
        loss = functional.cross_entropy(self.logits(words), words.answers)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = share * peak
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [*self.bert.parameters(), *self.head.parameters()]
        torch.nn.utils.clip_grad_norm_(parameters, _MAX_GRADIENT_NORM, error_if_nonfinite=True)
        self.optimizer.step()
        return loss.item()


def _cuda_devices(module: nn.Module) -> list[torch.device]:
    device = next(module.parameters()).device
    return [device] if device.type == "cuda" else []
