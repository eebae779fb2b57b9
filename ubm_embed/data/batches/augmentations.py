"""The augmentations of the paper's section 3.3, on whole tables of sequences and sessions.

Dropout masking is part of the model, next item pairing is `SessionTable.next_item_pairs`.
"""

from __future__ import annotations

import numpy as np

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

# The paper says 15% of the tokens, then 10% as [MASK], 5% as random tokens and 5% unchanged, which is 20%. An unchanged
# token is no augmentation when nothing predicts it, so we take 10% and 5%, together the 15%.
MASK_RATE = 0.10
REPLACE_RATE = 0.05


def mask_item_tokens(sequences: TokenTable, tokenizer: InteractionTokenizer, rng: np.random.Generator) -> TokenTable:
    """Item token masking (3.3.2): some word tokens become [MASK] or a random word; special tokens stay."""
    return _mask(sequences, tokenizer.is_word[sequences.ids], tokenizer, rng)


def mask_action_and_item_tokens(
    sequences: TokenTable, tokenizer: InteractionTokenizer, rng: np.random.Generator
) -> TokenTable:
    """Action and item token masking (3.3.5): the same, and some action tokens become [MASK] or a random action."""
    is_action = np.isin(sequences.ids, tokenizer.actions)
    masked = _mask(sequences, is_action | tokenizer.is_word[sequences.ids], tokenizer, rng)
    replaced = is_action & (masked.ids != sequences.ids) & (masked.ids != tokenizer.mask)
    masked.ids[replaced] = rng.choice(tokenizer.actions, int(replaced.sum()))
    return masked


def _mask(
    sequences: TokenTable, maskable: BoolArray, tokenizer: InteractionTokenizer, rng: np.random.Generator
) -> TokenTable:
    draws = rng.random(sequences.ids.size, dtype=np.float32)
    words = np.flatnonzero(tokenizer.is_word)
    ids = sequences.ids.copy()
    ids[maskable & (draws < MASK_RATE)] = tokenizer.mask
    replaced = maskable & (draws >= MASK_RATE) & (draws < MASK_RATE + REPLACE_RATE)
    ids[replaced] = rng.choice(words, int(replaced.sum()))
    return TokenTable(ids, sequences.offsets)


def reorder_interactions(sessions: SessionTable, rng: np.random.Generator) -> SessionTable:
    """Interaction reordering (3.3.4): swap two interactions of each session, drawn at random.

    A session of one interaction stays unchanged.
    """
    starts, lengths = sessions.offsets[:-1], sessions.lengths
    several = lengths > 1
    starts, lengths = starts[several], lengths[several]
    first = rng.integers(0, lengths)
    second = (first + rng.integers(1, lengths)) % lengths
    actions, rows = sessions.actions.copy(), sessions.rows.copy()
    for array in (actions, rows):
        array[starts + first], array[starts + second] = array[starts + second], array[starts + first]
    return SessionTable(actions, rows, sessions.offsets)
