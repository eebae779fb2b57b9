"""How fine-tuning reads interactions: from their texts at each step, or from what was read of them before."""

from __future__ import annotations

import numpy as np

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.pooled_interactions import PooledInteractions
from ubm_embed.model.tower import CachedInteractions, TextInteractions
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import Progress, silent
from ubm_embed.training.finetuning.config import FinetuningConfig

# Tokens x layers x width of a chunk, about 100 bytes each: on a CPU 32,768 tokens of the shop recipe's encoder.
_CHUNK = {"cpu": 1 << 23, "cuda": 1 << 26}


def interactions_of(
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    corpus: TokenizedCorpus,
    config: FinetuningConfig,
    progress: Progress = silent,
) -> TextInteractions | CachedInteractions | PooledInteractions:
    """What reads the interactions of a corpus in the way that the settings ask for."""
    chunk_tokens = config.chunk_tokens or _chunk_tokens(model)
    texts = TextInteractions(model.interaction_encoder, tokenizer, corpus.texts, chunk_tokens=chunk_tokens)
    if config.only_session_encoder or config.only_head:
        return cached_interactions(texts, corpus, products_too=config.train_products, progress=progress)
    every = 1 if config.read_texts_every is None else config.read_texts_every
    if every == 1:
        return texts
    everything = _every_interaction(corpus, products_too=config.train_products)
    return PooledInteractions(texts, *everything, every=every, precision=config.precision, progress=progress)


def cached_interactions(
    interactions: TextInteractions, corpus: TokenizedCorpus, *, products_too: bool, progress: Progress = silent
) -> CachedInteractions:
    """The vectors of every interaction in the corpus, and with `products_too` of every product alone."""
    return CachedInteractions.from_texts(interactions, *_every_interaction(corpus, products_too=products_too), progress)


def _every_interaction(corpus: TokenizedCorpus, *, products_too: bool) -> tuple[IntArray, IntArray]:
    """Actions and rows of all interactions [I], and with `products_too` of every product alone."""
    actions, rows = corpus.sessions.actions.astype(np.int64), corpus.sessions.rows.astype(np.int64)
    if not products_too:
        return actions, rows
    alone = np.arange(corpus.products)
    return np.concatenate([actions, np.full(alone.size, NO_ACTION)]), np.concatenate([rows, alone])


def _chunk_tokens(model: UserBehaviorModel) -> int:
    encoder = model.interaction_encoder.encoder.config
    return max(1, int(_CHUNK[model.device.type] // (max(1, encoder.num_hidden_layers) * encoder.hidden_size)))
